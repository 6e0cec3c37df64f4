//! The explorer: pages of the chain for people. All that they show they ask the node's JSON-RPC
//! for, so they need nothing else of it.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Bytes};

/// Where the pages are.
const ROOT: &str = "/explorer";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The files below the root: nothing of the pages comes from elsewhere, and their style is the
/// dashboard's.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("../../page/index.html")),
    ("/style.css", CSS, include_str!("../../../ethstats/page/style.css")),
    ("/explorer.css", CSS, include_str!("../../page/explorer.css")),
    ("/explorer.js", SCRIPT, include_str!("../../page/explorer.js")),
    ("/views.js", SCRIPT, include_str!("../../page/views.js")),
    ("/format.js", SCRIPT, include_str!("../../page/format.js")),
    ("/node.js", SCRIPT, include_str!("../../page/node.js")),
    ("/icon.svg", SVG, include_str!("../../../ethstats/page/icon.svg")),
];

/// A page may load and ask what this node serves and nothing else, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to a browser that asks for a page, or `None` if it does not.
pub(super) fn page<B: Body>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let path = request.uri().path().strip_prefix(ROOT)?;
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    if !asks || !request.body().is_end_stream() {
        return None;
    }
    if path.is_empty() {
        return Some(moved());
    }
    let (_, kind, text) = FILES.iter().find(|(name, ..)| *name == path)?;
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    for (name, value) in [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// The files are named relative to the folder, so the folder's name must end as one.
fn moved() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/explorer/"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        let request = Request::builder().method(method).uri(path);
        page(&request.body(Full::<Bytes>::default()).unwrap())
    }

    #[test]
    fn every_file_that_a_page_names_is_there() {
        for (_, _, text) in FILES {
            let named = text.split('"').filter(|word| {
                let ending = word.rsplit('.').next();
                word.len() < 40
                    && matches!(ending, Some("js" | "css" | "svg"))
                    && !word.contains(' ')
            });
            for name in named {
                let path = format!("{ROOT}/{}", name.trim_start_matches("./"));
                assert!(get(&Method::GET, &path).is_some(), "{path}");
            }
        }
    }

    #[test]
    fn pages_are_at_their_folder_and_nowhere_else() {
        assert_eq!(get(&Method::GET, "/explorer").unwrap().headers()["location"], "/explorer/");
        assert_eq!(get(&Method::HEAD, "/explorer/").unwrap().status(), StatusCode::OK);
        for path in ["/", "/explorers", "/explorer/../lib.rs", "/explorer/nothing", "/x/explorer/"]
        {
            assert!(get(&Method::GET, path).is_none(), "{path}");
        }
        assert!(get(&Method::POST, "/explorer/").is_none());
    }

    #[test]
    fn nothing_from_elsewhere_may_be_loaded() {
        let response = get(&Method::GET, "/explorer/").unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains('*'), "{policy}");
        assert_eq!(response.headers()["content-type"], HTML);
    }
}
