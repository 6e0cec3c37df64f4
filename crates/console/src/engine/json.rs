//! Values of a node's answers, as values of JavaScript.

use boa_engine::{
    Context, JsObject, JsResult, JsString, JsValue, object::builtins::JsArray,
    property::PropertyKey,
};
use serde_json::Value;

/// Makes a value. How deep it goes is bounded by the parser that made the JSON.
pub(super) fn value(json: Value, context: &mut Context) -> JsResult<JsValue> {
    Ok(match json {
        Value::Null => JsValue::null(),
        Value::Bool(is) => is.into(),
        // Numbers are doubles here, as in every JavaScript.
        Value::Number(number) => {
            match number.as_i64().and_then(|small| i32::try_from(small).ok()) {
                Some(small) => small.into(),
                None => number.as_f64().unwrap_or(f64::NAN).into(),
            }
        }
        Value::String(text) => JsString::from(text.as_str()).into(),
        Value::Array(items) => {
            let mut values = Vec::with_capacity(items.len());
            for item in items {
                values.push(value(item, context)?);
            }
            JsArray::from_iter(values, context).into()
        }
        Value::Object(fields) => {
            let object = JsObject::with_object_proto(context.intrinsics());
            for (name, field) in fields {
                let field = value(field, context)?;
                let key = PropertyKey::from(JsString::from(name.as_str()));
                object.create_data_property_or_throw(key, field, context)?;
            }
            object.into()
        }
    })
}
