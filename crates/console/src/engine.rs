//! The JavaScript engine with the objects of the console in it.
//!
//! Scripts are run a slice at a time, so that Ctrl-C ends them. What a node answers is data: it is
//! made into values and never evaluated.

mod host;
mod json;

use std::{
    path::Path,
    pin::pin,
    task::{Poll, Waker},
};

use boa_engine::{
    Context, JsError, JsObject, JsString, JsValue, Script, Source, js_string,
    object::{ObjectInitializer, builtins::JsArray},
    property::Attribute,
};

pub(crate) use self::host::{Host, Question};
use crate::{indents::is_too_deep, interrupt::Interrupt};

/// Instructions between two looks at Ctrl-C; a few hundred microseconds.
const SLICE: u32 = 20_000;

/// How deep functions may call each other. The engine's own limit is small for recursive scripts.
const CALLS_MAX: usize = 2_000;

/// Values on the engine's stack.
const STACK_VALUES_MAX: usize = 1_000_000;

/// The console's own scripts, in the order in which they need each other.
const SCRIPTS: [(&str, &str); 10] = [
    ("bignumber.js", include_str!("js/bignumber.js")),
    ("conversion.js", include_str!("js/conversion.js")),
    ("formatters.js", include_str!("js/formatters.js")),
    ("requests.js", include_str!("js/requests.js")),
    ("abi.js", include_str!("js/abi.js")),
    ("filters.js", include_str!("js/filters.js")),
    ("contract.js", include_str!("js/contract.js")),
    ("modules.js", include_str!("js/modules.js")),
    ("inspect.js", include_str!("js/inspect.js")),
    ("globals.js", include_str!("js/globals.js")),
];

/// Calls what [`Engine::call`] put down, as a script, because only scripts can be broken.
const TURN: &str = "globalThis[Symbol.for('console.turn')]()";

/// The engine and everything that was defined in it.
pub(crate) struct Engine {
    context: Context,
    interrupt: Interrupt,
    library: JsObject,
    turn: Script,
}

/// Why a script did not run to its end.
#[derive(Debug)]
pub(crate) enum Thrown {
    /// It is no JavaScript; the text says where.
    Syntax(String),
    /// It threw this, at these places.
    Value(JsValue, String),
    /// Ctrl-C.
    Interrupted,
    /// It went beyond a limit of the engine.
    Limit(String),
}

impl Engine {
    /// An engine with our objects in it. The node is not asked yet.
    ///
    /// # Errors
    ///
    /// When our own scripts are wrong.
    pub(crate) fn new(host: Host, interrupt: Interrupt) -> Result<Self, Thrown> {
        let mut context = Context::default();
        let limits = context.runtime_limits_mut();
        limits.set_recursion_limit(CALLS_MAX);
        limits.set_stack_size_limit(STACK_VALUES_MAX);
        context.insert_data(host);
        let host = host::object(&mut context);
        let library = ObjectInitializer::new(&mut context)
            .property(js_string!("host"), host, Attribute::all())
            .build();
        let turn = Script::parse(source(TURN, "console"), None, &mut context)
            .map_err(|error| Thrown::Syntax(error.to_string()))?;
        let mut engine = Self { context, interrupt, library, turn };
        for (name, text) in SCRIPTS {
            engine.load(name, text)?;
        }
        Ok(engine)
    }

    /// Evaluates what a person or a script says.
    ///
    /// # Errors
    ///
    /// Whatever ended it early.
    pub(crate) fn evaluate(&mut self, text: &str, name: &str) -> Result<JsValue, Thrown> {
        if is_too_deep(text) {
            return Err(Thrown::Syntax("brackets are nested too deeply".into()));
        }
        // As at the end of a line, so that places in messages are right.
        let script = Script::parse(source(text, name), None, &mut self.context)
            .map_err(|error| Thrown::Syntax(syntax_error(&error, text)))?;
        self.run(&script)
    }

    /// Calls a function of our own scripts, which may call others' code.
    ///
    /// # Errors
    ///
    /// Whatever ended it early.
    pub(crate) fn call(&mut self, path: &str, arguments: Vec<JsValue>) -> Result<JsValue, Thrown> {
        let context = &mut self.context;
        let arguments = JsArray::from_iter(arguments, context);
        let set = self
            .library
            .set(js_string!("called"), JsString::from(path), true, context)
            .and_then(|_| self.library.set(js_string!("given"), arguments, true, context));
        set.map_err(|error| Thrown::Limit(error.to_string()))?;
        let turn = self.turn.clone();
        self.run(&turn)
    }

    /// As [`Self::call`], for a function that returns text.
    ///
    /// # Errors
    ///
    /// Whatever ended it early.
    pub(crate) fn text(&mut self, path: &str, arguments: Vec<JsValue>) -> Result<String, Thrown> {
        let value = self.call(path, arguments)?;
        Ok(value.as_string().map(|text| text.to_std_string_lossy()).unwrap_or_default())
    }

    pub(crate) fn host(&self) -> &Host {
        self.context.get_data::<Host>().expect("it is put there when the engine is made")
    }

    fn load(&mut self, name: &str, text: &str) -> Result<(), Thrown> {
        let function = self.evaluate(text, name)?;
        let library = JsValue::from(self.library.clone());
        let function = function.as_callable().expect("each of our scripts is a function");
        let loaded = function.call(&JsValue::undefined(), &[library], &mut self.context);
        loaded.map(drop).map_err(|error| self.thrown(error))
    }

    fn run(&mut self, script: &Script) -> Result<JsValue, Thrown> {
        // Frames of scripts that were broken stay; they must not count.
        let left = self.context.stack_trace().count();
        self.context.runtime_limits_mut().set_recursion_limit(CALLS_MAX + left);
        let ended = {
            let mut running = pin!(script.evaluate_async_with_budget(&mut self.context, SLICE));
            let mut waking = std::task::Context::from_waker(Waker::noop());
            loop {
                match running.as_mut().poll(&mut waking) {
                    Poll::Ready(ended) => break ended,
                    Poll::Pending if self.interrupt.is_pressed() => {
                        return Err(Thrown::Interrupted);
                    }
                    Poll::Pending => {}
                }
            }
        };
        let ended = ended.and_then(|value| self.context.run_jobs().map(|()| value));
        ended.map_err(|error| self.thrown(error))
    }

    fn thrown(&mut self, error: JsError) -> Thrown {
        if self.interrupt.is_pressed() {
            return Thrown::Interrupted;
        }
        if error.as_engine().is_some() {
            return Thrown::Limit(first_line(&error.to_string()).to_owned());
        }
        let trace = trace(&error.to_string());
        match error.into_opaque(&mut self.context) {
            Ok(value) => Thrown::Value(value, trace),
            Err(error) => Thrown::Limit(first_line(&error.to_string()).to_owned()),
        }
    }
}

impl Thrown {
    /// What is printed of it.
    pub(crate) fn shown(self, engine: &mut Engine) -> String {
        let (text, trace) = match self {
            Self::Syntax(text) => (format!("SyntaxError: {text}"), String::new()),
            Self::Interrupted => ("interrupted".to_owned(), String::new()),
            Self::Limit(text) => (format!("RangeError: {text}"), String::new()),
            Self::Value(value, trace) => {
                let trace = JsValue::from(JsString::from(trace.as_str()));
                let shown = engine.text("inspect.failure", vec![value, trace]);
                return shown.unwrap_or_else(|_| "an error that cannot be shown".to_owned());
            }
        };
        let arguments =
            vec![JsString::from(text.as_str()).into(), JsString::from(trace.as_str()).into()];
        engine.text("inspect.failure", arguments).unwrap_or(text)
    }
}

fn source<'a>(
    text: &'a str,
    name: &'a str,
) -> Source<'a, impl boa_engine::parser::source::ReadChar> {
    Source::from_bytes(text).with_path(Path::new(name))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The places of an error, a line each, from the engine's own list. It ends where the script
/// began: frames below are of scripts that were broken.
fn trace(shown: &str) -> String {
    let mut lines = String::new();
    for place in shown.split("\n    at ").skip(1) {
        let place = place.lines().next().unwrap_or_default();
        let is_first = place.starts_with("<main>");
        let place = place.strip_prefix("<main> ").map_or(place, |at| at.trim_matches(['(', ')']));
        lines.push_str("\n\tat ");
        lines.push_str(place);
        if is_first {
            break;
        }
    }
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines
}

/// The parser's message in the form that geth's engine gives it: the place first.
fn syntax_error(error: &JsError, text: &str) -> String {
    let message =
        error.as_native().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let message = first_line(&message);
    if message.contains("abrupt end") {
        let lines = text.split('\n').count();
        let column = text.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        return format!("(anonymous): Line {lines}:{column} Unexpected end of input");
    }
    let place = message.rsplit_once(" at line ").and_then(|(what, place)| {
        let (line, column) = place.split_once(", col ")?;
        Some(format!("(anonymous): Line {line}:{} {what}", column.trim()))
    });
    place.unwrap_or_else(|| message.to_owned())
}

/// A text of JavaScript as one of ours.
pub(crate) fn string(value: &JsValue) -> Option<String> {
    value.as_string().map(|text: JsString| text.to_std_string_lossy())
}

#[cfg(test)]
mod tests;
