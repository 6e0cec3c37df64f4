//! What scripts can do beyond JavaScript: ask the node, print, wait, read a file.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    time::{Duration, Instant},
};

use boa_engine::{
    Context, EngineError, JsArgs, JsNativeError, JsObject, JsResult, JsString, JsValue,
    NativeFunction, RuntimeLimitError, native_function::NativeFunctionPointer,
    object::ObjectInitializer,
};
use primitives::keccak256;

use super::{json, string};
use crate::{
    client::{Client, RequestError},
    interrupt::Interrupt,
    output::Output,
};

/// The largest script that is read.
pub(crate) const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The longest that a timer or a sleep may be.
const WAIT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What the engine's functions work with.
pub(crate) struct Host {
    client: Client,
    interrupt: Interrupt,
    script_directory: PathBuf,
    pub(crate) output: Output,
    timers: RefCell<BTreeSet<(Instant, u64)>>,
    /// Who waits for the script that runs, and can be asked for a password.
    listener: RefCell<Option<SyncSender<Question>>>,
}

/// What a script wants of the person.
#[derive(Debug)]
pub(crate) enum Question {
    /// A password, with a prompt.
    Password { prompt: String, reply: SyncSender<io::Result<String>> },
    /// That the history be forgotten.
    ClearHistory,
}

impl Host {
    pub(crate) fn new(client: Client, interrupt: Interrupt, script_directory: &Path) -> Self {
        Self {
            client,
            interrupt,
            script_directory: script_directory.to_owned(),
            output: Output::of_process(),
            timers: RefCell::default(),
            listener: RefCell::default(),
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Says who is asked for passwords from now on.
    pub(crate) fn listen(&self, listener: Option<SyncSender<Question>>) {
        self.listener.replace(listener);
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow().first().map(|(due, _)| *due)
    }

    /// Takes a timer whose time has come.
    pub(crate) fn take_due_timer(&self) -> Option<u64> {
        let mut timers = self.timers.borrow_mut();
        let (due, _) = timers.first()?;
        if *due > Instant::now() {
            return None;
        }
        timers.pop_first().map(|(_, id)| id)
    }

    /// Prints. Who closed the pipe does not want to read on, and that is no failure of the script.
    pub(crate) fn print(&self, text: &str) {
        drop(self.output.print(text));
    }

    /// Reads a script, which is looked for in the directory of scripts.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no text, or larger than [`SCRIPT_BYTES_MAX`].
    pub(crate) fn script(&self, name: &Path) -> io::Result<String> {
        let mut text = String::new();
        let file = File::open(self.script_directory.join(name))?;
        let read = file.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text)?;
        if u64::try_from(read).unwrap_or(u64::MAX) > SCRIPT_BYTES_MAX {
            let message = format!("it is larger than {SCRIPT_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(text)
    }

    fn ask(&self, question: Question) -> JsResult<()> {
        let listener = self.listener.borrow();
        let asked = listener.as_ref().is_some_and(|listener| listener.send(question).is_ok());
        if asked { Ok(()) } else { Err(error("nobody is there to be asked")) }
    }
}

/// `host`, as our scripts see it.
pub(super) fn object(context: &mut Context) -> JsObject {
    let functions: [(&str, NativeFunctionPointer); 11] = [
        ("request", request),
        ("keccak", keccak),
        ("print", print),
        ("isColoured", is_coloured),
        ("isTerminal", is_terminal),
        ("source", script_source),
        ("schedule", schedule),
        ("cancel", cancel),
        ("sleep", sleep),
        ("password", password),
        ("clearHistory", clear_history),
    ];
    let mut object = ObjectInitializer::new(context);
    for (name, function) in functions {
        object.function(NativeFunction::from_fn_ptr(function), JsString::from(name), 0);
    }
    object.build()
}

fn request(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let payload = text_of(arguments.get_or_undefined(0))?;
    match host(context).client.request(payload) {
        Ok(answer) => json::value(answer, context),
        Err(RequestError::Interrupted) => Err(interrupted()),
        Err(failure) => Err(error(&failure.to_string())),
    }
}

fn keccak(_: &JsValue, arguments: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let digits = text_of(arguments.get_or_undefined(0))?;
    // An odd digit at the end, or one that is none, counts for nothing.
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks_exact(2)
        .map_while(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let hash = format!("0x{}", hex::encode(keccak256(bytes)));
    Ok(JsString::from(hash.as_str()).into())
}

fn print(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let text = text_of(arguments.get_or_undefined(0))?;
    host(context).print(&text);
    Ok(JsValue::undefined())
}

fn is_coloured(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    Ok(host(context).output.is_coloured.into())
}

fn is_terminal(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    Ok(host(context).output.is_terminal.into())
}

fn script_source(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let name = text_of(arguments.get_or_undefined(0))?;
    match host(context).script(Path::new(&name)) {
        Ok(text) if crate::indents::is_too_deep(&text) => {
            Err(error(&format!("{name}: brackets are nested too deeply")))
        }
        Ok(text) => Ok(JsString::from(text.as_str()).into()),
        Err(failure) => Err(error(&format!("Could not read file {name}: {failure}"))),
    }
}

fn schedule(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let id = timer_id(arguments, context)?;
    let delay = duration(arguments.get_or_undefined(1), context)?;
    host(context).timers.borrow_mut().insert((Instant::now() + delay, id));
    Ok(JsValue::undefined())
}

fn cancel(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let id = timer_id(arguments, context)?;
    host(context).timers.borrow_mut().retain(|(_, timer)| *timer != id);
    Ok(JsValue::undefined())
}

fn sleep(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let time = duration(arguments.get_or_undefined(0), context)?;
    let interrupt = &host(context).interrupt;
    interrupt.sleep(time);
    if interrupt.is_pressed() { Err(interrupted()) } else { Ok(JsValue::undefined()) }
}

fn password(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let prompt = text_of(arguments.get_or_undefined(0))?;
    let (reply, replied) = sync_channel(1);
    host(context).ask(Question::Password { prompt, reply })?;
    match replied.recv() {
        Ok(Ok(password)) => Ok(JsString::from(password.as_str()).into()),
        Ok(Err(failure)) => Err(error(&format!("cannot read the password: {failure}"))),
        Err(_) => Err(error("nobody is there to be asked")),
    }
}

fn clear_history(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    host(context).ask(Question::ClearHistory)?;
    Ok(JsValue::undefined())
}

fn host(context: &Context) -> &Host {
    context.get_data::<Host>().expect("it is put there when the engine is made")
}

fn text_of(value: &JsValue) -> JsResult<String> {
    string(value).ok_or_else(|| JsNativeError::typ().with_message("expected a text").into())
}

fn timer_id(arguments: &[JsValue], context: &mut Context) -> JsResult<u64> {
    arguments.get_or_undefined(0).to_length(context)
}

fn duration(milliseconds: &JsValue, context: &mut Context) -> JsResult<Duration> {
    let milliseconds = milliseconds.to_number(context)?;
    Ok(Duration::try_from_secs_f64(milliseconds.max(0.0) / 1000.0)
        .unwrap_or(WAIT_MAX)
        .min(WAIT_MAX))
}

fn error(message: &str) -> boa_engine::JsError {
    JsNativeError::error().with_message(message.to_owned()).into()
}

/// What no script can catch.
fn interrupted() -> boa_engine::JsError {
    EngineError::from(RuntimeLimitError::LoopIteration).into()
}
