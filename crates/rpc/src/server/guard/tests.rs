use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::*};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};

use super::*;

const SECRET: &str = "0x7365637265747365637265747365637265747365637265747365637265747365";
const NOW: u64 = 1_700_000_000;
const ANYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn secret() -> TokenSecret {
    TokenSecret::from_hex(SECRET).unwrap()
}

fn logins() -> Logins {
    Logins::parse("alice:pass:word\n\nböb:geheim\r\n").unwrap()
}

fn signed<M: Mac + hmac::digest::KeyInit>(header: &Value, claims: &str, key: &[u8]) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}", part(&header.to_string()), part(claims));
    let mut mac = <M as hmac::digest::KeyInit>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{text}.{signature}")
}

fn key() -> Vec<u8> {
    hex::decode(SECRET).unwrap()
}

fn token(claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    signed::<Hmac<Sha256>>(&header, &claims.to_string(), &key())
}

/// What a guard says to a header.
fn said(guard: &Guard, header: &str) -> Result<(), Reason> {
    let mut headers = HeaderMap::new();
    if !header.is_empty() {
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(header.as_bytes()).unwrap());
    }
    guard.check(&headers, now())
}

fn of_token(token: &str) -> Result<(), Reason> {
    said(&Guard::new(Some(secret()), None), &format!("Bearer {token}"))
}

#[test]
fn the_example_of_the_standard_is_signed_so() {
    // RFC 7515, appendix A.1.1; its key has 64 bytes, so that only the signing is compared.
    let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzO\
                DAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let key =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = BASE64_URL_SAFE_NO_PAD.decode(key).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

#[test]
fn a_token_of_the_last_or_next_minute_is_good() {
    for claims in [
        json!({"iat": NOW}),
        json!({"iat": NOW - 60}),
        json!({"iat": NOW + 60}),
        json!({"iat": 1_699_999_999.5}),
        json!({"iat": NOW, "exp": NOW + 1, "id": "x", "clv": "1"}),
    ] {
        assert_eq!(of_token(&token(&claims)), Ok(()), "{claims}");
    }
    // Whatever the header says besides.
    let header = json!({"typ": "x", "alg": "HS256", "kid": 1});
    let odd = signed::<Hmac<Sha256>>(&header, &json!({"iat": NOW}).to_string(), &key());
    assert_eq!(of_token(&odd), Ok(()));
}

#[test]
fn every_other_claim_is_refused_in_geths_words() {
    for (claims, reason) in [
        (json!({"iat": NOW - 61}), "stale token"),
        (json!({"iat": 0}), "stale token"),
        (json!({"iat": -1e300}), "stale token"),
        (json!({"iat": NOW + 61}), "future token"),
        (json!({"iat": 1e300}), "future token"),
        (json!({}), "missing issued-at"),
        (json!({"iat": null}), "missing issued-at"),
        (json!({"iat": NOW, "exp": NOW}), "token is expired"),
        (json!({"iat": NOW.to_string()}), "token is malformed"),
        (json!([NOW]), "token is malformed"),
        (json!("iat"), "token is malformed"),
    ] {
        assert_eq!(of_token(&token(&claims)), Err(reason), "{claims}");
    }
    for claims in ["", "{", "{\"iat\":1e400}", "{\"iat\":1700000000,\"iat\":1700000000}"] {
        let header = json!({"alg": "HS256"});
        let token = signed::<Hmac<Sha256>>(&header, claims, &key());
        assert!(of_token(&token).is_err(), "{claims}");
    }
}

#[test]
fn the_signer_does_not_choose_the_algorithm() {
    let claims = json!({"iat": NOW}).to_string();
    let method = Err("signing method is invalid: it must be HS256");
    for alg in ["none", "None", "", "HS384", "RS256", "hs256", "HS256 "] {
        let token = signed::<Hmac<Sha256>>(&json!({"alg": alg}), &claims, &key());
        assert_eq!(of_token(&token), method, "{alg}");
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert_eq!(of_token(&format!("{unsigned}.")), method, "{alg}");
    }
    let hs512 = signed::<Hmac<Sha512>>(&json!({"alg": "HS512"}), &claims, &key());
    assert_eq!(of_token(&hs512), method);
    let disguised = signed::<Hmac<Sha512>>(&json!({"alg": "HS256"}), &claims, &key());
    assert_eq!(of_token(&disguised), Err("signature is invalid"));
    let other = signed::<Hmac<Sha256>>(&json!({"alg": "HS256"}), &claims, &[7; 32]);
    assert_eq!(of_token(&other), Err("signature is invalid"));
    let empty = signed::<Hmac<Sha256>>(&json!({"alg": "HS256"}), &claims, &[]);
    assert_eq!(of_token(&empty), Err("signature is invalid"));
    for header in [json!({}), json!({"alg": 1}), json!({"alg": null}), json!([])] {
        let token = signed::<Hmac<Sha256>>(&header, &claims, &key());
        assert!(of_token(&token).is_err(), "{header}");
    }
}

#[test]
fn a_token_with_any_bit_flipped_is_refused() {
    let good = token(&json!({"iat": NOW}));
    assert_eq!(of_token(&good), Ok(()));
    let guard = secret();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            assert!(guard.check(&bytes, now()).is_err(), "byte {at}, bit {bit}");
        }
        assert!(of_token(&good[..at]).is_err(), "{at}");
    }
    for more in [".", "=", "A", ".e30"] {
        assert!(of_token(&format!("{good}{more}")).is_err(), "{more}");
    }
    for text in ["", ".", "..", "...", "a.b", "a.b.c", "é.é.é", "=.=.="] {
        assert!(of_token(text).is_err(), "{text}");
    }
}

#[test]
fn a_secret_is_what_geth_writes_and_nothing_else() {
    for good in [SECRET.to_owned(), format!("{}\r\n", &SECRET[2..]), SECRET.to_uppercase()] {
        assert!(TokenSecret::from_hex(&good.replace("0X", "0x")).is_ok(), "{good}");
    }
    for bad in ["", "0x", &SECRET[..64], &format!("{SECRET}00"), &SECRET.replace('7', "g")] {
        assert_eq!(TokenSecret::from_hex(bad).unwrap_err(), TokenSecretError, "{bad}");
    }
    assert_eq!(
        format!("{:?}", Guard::new(Some(secret()), Some(logins()))).matches("73").count(),
        0
    );
}

fn basic(login: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(login))
}

#[test]
fn a_login_is_the_whole_line() {
    let guard = Guard::new(None, Some(logins()));
    for good in ["alice:pass:word", "böb:geheim"] {
        assert_eq!(said(&guard, &basic(good)), Ok(()), "{good}");
    }
    let wrong = Err("wrong user or password");
    for bad in ["", ":", "alice", "alice:", "alice:pass", "alice:pass:word\n", "Alice:pass:word"] {
        assert_eq!(said(&guard, &basic(bad)), wrong, "{bad}");
    }
    let good = b"alice:pass:word";
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut login = good.to_vec();
            login[at] ^= 1 << bit;
            let header = format!("Basic {}", BASE64_STANDARD.encode(&login));
            assert_eq!(said(&guard, &header), wrong, "byte {at}, bit {bit}");
        }
    }
    for bad in ["Basic *", "Basic YWxpY2U", "Basic é"] {
        assert_eq!(said(&guard, bad), Err("malformed user and password"), "{bad}");
    }
}

#[test]
fn a_list_of_logins_names_the_line_at_fault() {
    for (text, error) in [
        ("", LoginsError::Empty),
        ("\n \n", LoginsError::Empty),
        ("a:b\nc\n", LoginsError::Line(2)),
        ("\n:b", LoginsError::Line(2)),
        ("a:", LoginsError::Line(1)),
    ] {
        assert_eq!(Logins::parse(text).unwrap_err(), error, "{text:?}");
    }
    assert!(Logins::parse(&"a:b\n".repeat(LOGINS_MAX)).is_ok());
    assert_eq!(Logins::parse(&"a:b\n".repeat(LOGINS_MAX + 1)).unwrap_err(), LoginsError::TooMany);
}

#[test]
fn each_way_is_asked_for_by_its_name() {
    let token = format!("Bearer {}", token(&json!({"iat": NOW})));
    let login = basic("alice:pass:word");
    let [open, tokens, passwords, both] = [
        Guard::default(),
        Guard::new(Some(secret()), None),
        Guard::new(None, Some(logins())),
        Guard::new(Some(secret()), Some(logins())),
    ];
    for header in ["", "rubbish", &token, &login] {
        assert_eq!(said(&open, header), Ok(()));
    }
    let (no_token, no_login) = (Err("missing token"), Err("missing user and password"));
    for (header, of_tokens, of_passwords, of_both) in [
        ("", no_token, no_login, no_token),
        (&*token, Ok(()), no_login, Ok(())),
        (&*login, no_token, Ok(()), Ok(())),
        (&*token.replace("Bearer ", "bearer   "), Ok(()), no_login, Ok(())),
        (&*token.replace("Bearer ", "Bearer"), no_token, no_login, no_token),
        ("Bearer", no_token, no_login, no_token),
        ("Digest x", no_token, no_login, no_token),
    ] {
        assert_eq!(said(&tokens, header), of_tokens, "{header}");
        assert_eq!(said(&passwords, header), of_passwords, "{header}");
        assert_eq!(said(&both, header), of_both, "{header}");
    }
    let refusal = both.admit(&HeaderMap::new(), ANYWHERE).unwrap_err();
    assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
    let ways: Vec<_> = refusal.headers().get_all(WWW_AUTHENTICATE).iter().collect();
    assert_eq!(ways, ["Bearer", "Basic realm=\"hematite\", charset=\"UTF-8\""]);
}

#[test]
fn guessing_is_slowed_where_there_is_something_to_guess() {
    let guard = Guard::new(Some(secret()), Some(logins()));
    let elsewhere = IpAddr::from([10, 0, 0, 1]);
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let status = |header: &str, from| {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        guard.admit(&headers, from).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    };
    let (good, wrong) = (basic("alice:pass:word"), basic("alice:guess"));
    let token = format!("Bearer {}", secret().issue(issued));
    // A browser asks without a password first.
    for _ in 0..100 {
        assert_eq!(status("", ANYWHERE), 401);
    }
    assert_eq!(status(&good, ANYWHERE), 200);
    let answers: Vec<_> = (0..100).map(|_| status(&wrong, ANYWHERE)).collect();
    // The clock goes on meanwhile, so that there may be some more.
    assert!(answers.iter().filter(|status| **status == 429).count() >= 50, "{answers:?}");
    assert_eq!(answers[..10], [401; 10]);
    assert_eq!(status(&good, ANYWHERE), 429, "even a right guess is one");
    assert_eq!(status(&token, ANYWHERE), 200, "nobody guesses a token");
    assert_eq!(status(&format!("{token}x"), ANYWHERE), 429);
    assert_eq!(status(&good, elsewhere), 200);
    assert_eq!(status(&wrong, elsewhere), 401);
}
