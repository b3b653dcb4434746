//! What a bug report must not tell: secrets go, public addresses and host names get other names.
//!
//! A secret is known by its field, or by what stands before it in a text. Whatever was once known as one is taken out
//! wherever else it stands, in a log line for example. An address keeps its new name through the whole document, so
//! that one still sees who is connected with whom.

mod addresses;
mod secrets;

use serde_json::{Map, Value};

use addresses::Addresses;

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// The shortest secret that is looked for in texts. A shorter one stands in many words by chance.
const SHORTEST: usize = 4;

/// Redacts a document; what it learns from one part counts for the others.
#[derive(Debug)]
pub struct Redactor {
    secrets: Vec<String>,
    addresses: Option<Addresses>,
}

impl Redactor {
    /// One that leaves addresses and host names as they are, or one that does not.
    pub fn new(keep_addresses: bool) -> Self {
        Self { secrets: Vec::new(), addresses: (!keep_addresses).then(Addresses::default) }
    }

    /// Takes this out wherever it stands.
    pub fn learn_secret(&mut self, secret: &str) {
        if secret.len() >= SHORTEST && !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_owned());
            self.secrets.sort_by_key(|known| std::cmp::Reverse(known.len())); // one may be the beginning of another
        }
    }

    /// The spec of a flow without its secrets: fields that its schema marks, and those with a telling name. Learns them,
    /// and the hosts that the spec names. What is left is still to be redacted as the document that it is part of.
    #[must_use]
    pub fn spec(&mut self, schema: &Value, spec: &Value) -> Value {
        self.value(&secrets::alternatives(schema), "", spec, false)
    }

    fn value(&mut self, schemas: &[&Value], name: &str, value: &Value, inside: bool) -> Value {
        let secret = inside || secrets::is_secret_name(name) || schemas.iter().any(|schema| secrets::is_marked(schema));
        match value {
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| (name.clone(), self.value(&secrets::of_field(schemas, name), name, value, secret));
                Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
            }
            Value::Array(items) => {
                let schemas = secrets::of_items(schemas);
                items.iter().map(|item| self.value(&schemas, name, item, secret)).collect()
            }
            Value::String(text) if secret => {
                self.learn_secret(text);
                REDACTED.into()
            }
            Value::Number(_) if secret => REDACTED.into(),
            Value::String(text) => {
                if let Some(password) = secrets::password_in_url(text) {
                    self.learn_secret(password);
                }
                if let Some(addresses) = &mut self.addresses {
                    addresses.learn_from_field(name, text);
                }
                value.clone()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A text without what is known to be a secret or looks like one.
    #[must_use]
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, REDACTED);
        }
        let text = secrets::without_assigned(&secrets::without_userinfo(&text));
        match &mut self.addresses {
            Some(addresses) => addresses.renamed(&text),
            None => text,
        }
    }

    /// All texts of a document.
    pub fn document(&mut self, document: &mut Value) {
        match document {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.document(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.document(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secret_fields_go_and_are_gone_from_every_other_text() {
        let schema = json!({"properties": {
            "pin": {"type": "string", "writeOnly": true},
            "hidden": {"type": "string", "x-secret": true},
            "typed": {"anyOf": [{"type": "string", "format": "password"}, {"type": "null"}]},
            "brokers": {"items": {"properties": {"door": {"x-secret": true}}}},
            "keepalive": {"type": "boolean"},
        }});
        let spec = json!({
            "pin": "pin-value", "hidden": "hidden-value", "typed": "typed-value", "brokers": [{"door": "door-value", "port": 1}],
            "api_key": "key-value", "Password": "password-value", "mqtt_token": {"now": "now-value", "id": 12345},
            "keepalive": true, "url": "mqtt://user:url-value@broker.example:1883", "listen": "127.0.0.1:5",
        });
        let mut redactor = Redactor::new(true);
        let mut document = json!({
            "spec": redactor.spec(&schema, &spec),
            "log": ["login with url-value failed", "sent hidden-value and pin-value, then door-value"],
        });
        redactor.document(&mut document);
        let text = document.to_string();
        for secret in ["pin", "hidden", "typed", "door", "key", "password", "now", "url"] {
            assert!(!text.contains(&format!("{secret}-value")), "{secret}: {text}");
        }
        assert!(!text.contains("12345"), "{text}");
        assert_eq!(document.pointer("/spec/keepalive"), Some(&json!(true)));
        assert_eq!(document.pointer("/spec/listen"), Some(&json!("127.0.0.1:5")));
        assert_eq!(document.pointer("/spec/brokers/0/port"), Some(&json!(1)));
        assert_eq!(document.pointer("/spec/url"), Some(&json!("mqtt://[redacted]@broker.example:1883")));
    }

    #[test]
    fn one_that_is_part_of_another_leaves_nothing_of_it() {
        let mut redactor = Redactor::new(true);
        redactor.learn_secret("abcd");
        redactor.learn_secret("abcdefgh");
        redactor.learn_secret("ab");
        assert_eq!(redactor.text("abcdefgh abcd ab"), "[redacted] [redacted] ab");
    }
}
