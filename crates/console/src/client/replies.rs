//! Which answer belongs to which request.

use serde_json::{Value, json};

use super::RequestError;

/// The ids that were sent.
pub(super) enum Expected {
    One(Value),
    Batch(Vec<Value>),
}

impl Expected {
    /// Reads the ids of a request or a batch.
    pub(super) fn of(payload: &str) -> Result<Self, RequestError> {
        let payload: Value = serde_json::from_str(payload)
            .map_err(|error| RequestError::Garbled(error.to_string()))?;
        Ok(match payload {
            Value::Array(calls) => Self::Batch(calls.iter().map(id).collect()),
            call => Self::One(id(&call)),
        })
    }

    /// The answer; a batch's in the order of its requests. `None` is for a notification, which
    /// answers nothing.
    pub(super) fn matched(&self, reply: Value) -> Result<Option<Value>, RequestError> {
        if reply.get("method").is_some() && reply.get("id").is_none() {
            return Ok(None);
        }
        match (self, reply) {
            (Self::One(wanted), Value::Object(reply)) => {
                let found = reply.get("id").unwrap_or(&Value::Null);
                // Of a request that it could not read, a server does not know the id.
                let is_refusal = found.is_null() && reply.contains_key("error");
                if found != wanted && !is_refusal {
                    return Err(RequestError::Mismatched);
                }
                Ok(Some(Value::Object(reply)))
            }
            (Self::Batch(wanted), Value::Array(replies)) => {
                if replies.len() > wanted.len() {
                    return Err(RequestError::Mismatched);
                }
                in_order(wanted, replies).map(Some)
            }
            (Self::Batch(_), reply) if reply.get("error").is_some() => Ok(Some(reply)),
            (Self::One(_) | Self::Batch(_), reply) if is_json_rpc(&reply) => {
                Err(RequestError::Mismatched)
            }
            (Self::One(_) | Self::Batch(_), _) => {
                Err(RequestError::Garbled("neither an object nor an array".into()))
            }
        }
    }
}

fn is_json_rpc(reply: &Value) -> bool {
    reply.is_object() || reply.is_array()
}

fn id(call: &Value) -> Value {
    call.get("id").cloned().unwrap_or(Value::Null)
}

fn in_order(wanted: &[Value], replies: Vec<Value>) -> Result<Value, RequestError> {
    let mut slots: Vec<Option<Value>> = vec![None; wanted.len()];
    for (position, reply) in replies.into_iter().enumerate() {
        let found = id(&reply);
        // Most servers keep the order.
        let free = |at: usize| wanted[at] == found && slots[at].is_none();
        let at =
            if free(position) { Some(position) } else { (0..wanted.len()).find(|at| free(*at)) };
        let at = at.ok_or(RequestError::Mismatched)?;
        slots[at] = Some(reply);
    }
    let missing = |id: &Value| {
        let error = json!({ "code": -32603, "message": "the node did not answer this request" });
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    };
    let filled = slots.into_iter().zip(wanted);
    Ok(filled.map(|(slot, id)| slot.unwrap_or_else(|| missing(id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(payload: &Value) -> Expected {
        Expected::of(&payload.to_string()).expect("it is JSON")
    }

    #[test]
    fn an_answer_has_the_id_of_its_request() {
        let one = expected(&json!({ "id": 7, "method": "a" }));
        let good = json!({ "id": 7, "result": 1 });
        assert_eq!(one.matched(good.clone()).expect("it fits"), Some(good));
        let refusal = json!({ "id": null, "error": { "message": "no" } });
        assert_eq!(one.matched(refusal.clone()).expect("it fits"), Some(refusal));
        let notification = json!({ "method": "eth_subscription", "params": {} });
        assert_eq!(one.matched(notification).expect("it is skipped"), None);
        for wrong in [json!({ "id": 8, "result": 1 }), json!({ "result": 1 }), json!([])] {
            assert!(matches!(one.matched(wrong), Err(RequestError::Mismatched)));
        }
        assert!(matches!(one.matched(json!("text")), Err(RequestError::Garbled(_))));
    }

    #[test]
    fn a_batch_is_answered_in_its_own_order() {
        let batch = expected(&json!([{ "id": 1 }, { "id": 2 }, { "id": 3 }]));
        let reply = json!([{ "id": 3, "result": "c" }, { "id": 1, "result": "a" }]);
        let answer = batch.matched(reply).expect("it fits").expect("it is an answer");
        assert_eq!((&answer[0]["result"], &answer[2]["result"]), (&json!("a"), &json!("c")));
        assert!(answer[1]["error"]["message"].as_str().expect("text").contains("did not answer"));
        for wrong in [
            json!([{ "id": 4 }]),
            json!([{ "id": 1 }, { "id": 1 }]),
            json!([{ "id": 1 }, { "id": 2 }, { "id": 3 }, { "id": 1 }]),
        ] {
            assert!(matches!(batch.matched(wrong), Err(RequestError::Mismatched)));
        }
    }
}
