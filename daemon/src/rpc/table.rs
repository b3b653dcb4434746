//! The table of methods: one call registers a handler with the schemas of its parameters and its result, and the
//! OpenRPC document comes out of the same table.

#![expect(clippy::indexing_slicing, reason = "what a JSON value does not have reads as null")]

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::types::ErrorObjectOwned;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::invalid_params;
use super::{API_VERSION, Daemon, ErrorKind};
use crate::flow::{Problem, read, schema_of};
use crate::i18n::{Language, phrase, translate_answer};

/// Methods under construction.
pub struct MethodTable {
    module: RpcModule<Daemon>,
    documents: Vec<Value>,
}

impl MethodTable {
    pub(super) fn new(daemon: Daemon) -> Self {
        Self { module: RpcModule::new(daemon), documents: Vec::new() }
    }

    /// Adds a method. `P` refuses unknown fields (`deny_unknown_fields`), and its fields are the parameters.
    /// It runs to its end even if the caller hangs up: nothing is left half done.
    pub(super) fn add<P, R, F, Fut>(&mut self, name: &'static str, summary: &'static str, handler: F)
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + Send + 'static,
        F: Fn(Arc<Daemon>, P) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ErrorObjectOwned>> + Send + 'static,
    {
        self.add_waiting(name, summary, move |daemon, params| {
            let work = handler(daemon, params);
            async move { tokio::spawn(work).await.unwrap_or_else(|e| Err(ErrorObjectOwned::owned(-32603, e.to_string(), None::<()>))) }
        });
    }

    /// Adds a method that only waits, and ends when the caller hangs up.
    pub(super) fn add_waiting<P, R, F, Fut>(&mut self, name: &'static str, summary: &'static str, handler: F)
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(Arc<Daemon>, P) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ErrorObjectOwned>> + Send,
    {
        self.documents.push(document::<P, R>(name, summary));
        let registered = self.module.register_async_method(name, move |params, daemon, extensions| {
            let handler = handler.clone();
            async move {
                let answer = async {
                    let params: P = parameters(params.as_str())?;
                    let result = handler(daemon, params).await?;
                    serde_json::to_value(result).map_err(|e| ErrorObjectOwned::owned(-32603, e.to_string(), None::<()>))
                };
                in_language(answer.await, extensions.get().copied().unwrap_or_default())
            }
        });
        debug_assert!(registered.is_ok(), "{name} is registered twice");
    }

    /// The OpenRPC document of all methods.
    pub fn openrpc(&self) -> Value {
        let errors: Vec<Value> = ErrorKind::ALL
            .iter()
            .map(|kind| json!({"code": kind.code().0, "message": kind.about(), "data": {"kind": kind.code().1}}))
            .collect();
        let mut methods = self.documents.clone();
        methods.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        json!({
            "openrpc": "1.3.2",
            "info": {
                "title": "domoflux",
                "version": format!("{API_VERSION}.0.0"),
                "description": "JSON-RPC 2.0 over HTTP POST on loopback. Every call carries `Authorization: Bearer <token>`. Times are milliseconds since the Unix epoch, sizes are bytes.",
                "license": {"name": "GPL-3.0-or-later"},
            },
            "methods": methods,
            "components": {"errors": errors},
        })
    }

    /// The methods, `rpc.discover` among them.
    pub(super) fn finish(mut self) -> jsonrpsee::Methods {
        let document = self.openrpc();
        let registered = self.module.register_method("rpc.discover", move |_, _, _| document.clone());
        debug_assert!(registered.is_ok());
        self.module.into()
    }
}

/// What is for a person, in the language of the caller.
fn in_language(answer: Result<Value, ErrorObjectOwned>, language: Language) -> Result<Value, ErrorObjectOwned> {
    match (answer, language) {
        (answer, Language::English) => answer,
        (Ok(mut result), _) => {
            translate_answer(&mut result, language);
            Ok(result)
        }
        (Err(error), _) => {
            let mut data: Option<Value> = error.data().and_then(|data| serde_json::from_str(data.get()).ok());
            if let Some(data) = &mut data {
                translate_answer(data, language);
            }
            Err(ErrorObjectOwned::owned(error.code(), phrase(error.message(), language), data))
        }
    }
}

/// Parameters come as an object; none at all is an empty one.
fn parameters<P: DeserializeOwned>(text: Option<&str>) -> Result<P, ErrorObjectOwned> {
    let wrong = |message: &str| invalid_params(&Problem::new("", message));
    let value = text.map_or(Ok(json!({})), serde_json::from_str).map_err(|e| wrong(&e.to_string()))?;
    if !value.is_object() {
        return Err(wrong("parameters are passed by name, as an object"));
    }
    read(&value).map_err(|problem| invalid_params(&problem))
}

fn document<P: JsonSchema, R: JsonSchema>(name: &str, summary: &str) -> Value {
    let schema = schema_of::<P>();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let params: Vec<Value> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| json!({"name": name, "required": required.contains(&name.as_str()), "schema": schema}))
        .collect();
    let mut result = schema_of::<R>();
    if let Some(fields) = result.as_object_mut() {
        fields.remove("$schema");
    }
    json!({"name": name, "summary": summary, "paramStructure": "by-name", "params": params, "result": {"name": "result", "schema": result}})
}
