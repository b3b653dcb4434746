//! The table of kinds. A new kind is one folder and one line here; forms, commands, documents, the command line and
//! the generic tests come from the table.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::check::{Problems, read_spec};
use super::schema::schema_of;
use super::{CounterDef, Finding, Flow, Prober, Spec};
use crate::i18n;
use crate::net::ListenAddress;
use crate::{mirror, multiplexer};

/// A kind of flow, without its types.
pub trait FlowKind: Sync {
    /// Its name, as in `kind = "mirror"`.
    fn name(&self) -> &'static str;
    /// Its title for a person, in English.
    fn title(&self) -> &'static str;
    /// What it does, in a sentence, in English.
    fn about(&self) -> &'static str;
    /// The table of its counters.
    fn counters(&self) -> &'static [CounterDef];
    /// The JSON Schema of its spec, with titles and descriptions in English.
    fn schema(&self) -> Value;
    /// Reads a spec; the answer is the flow, or everything that is wrong.
    fn build(&self, spec: &Value) -> Result<Box<dyn Flow>, Problems>;
    /// Where the flow of a spec would listen; nothing if the spec is wrong.
    fn listens(&self, _spec: &Value) -> Vec<(&'static str, ListenAddress, bool)> {
        Vec::new()
    }
    /// Reads a spec and tries out its addresses; the answer is what will be found, or everything that is wrong with it.
    fn probe(&self, _spec: &Value, _prober: Prober) -> Result<BoxFuture<'static, Vec<Finding>>, Problems> {
        Ok(Box::pin(std::future::ready(Vec::new())))
    }
}

struct Kind<S: Spec> {
    title: &'static str,
    about: &'static str,
    counters: &'static [CounterDef],
    spec: std::marker::PhantomData<fn() -> S>,
}

impl<S: Spec> FlowKind for Kind<S> {
    fn name(&self) -> &'static str {
        S::KIND
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn counters(&self) -> &'static [CounterDef] {
        self.counters
    }

    fn schema(&self) -> Value {
        schema_of::<S>()
    }

    fn build(&self, spec: &Value) -> Result<Box<dyn Flow>, Problems> {
        Ok(Box::new(S::Flow::from(read_spec::<S>(spec)?)))
    }

    fn listens(&self, spec: &Value) -> Vec<(&'static str, ListenAddress, bool)> {
        read_spec::<S>(spec).map(|spec| spec.listens()).unwrap_or_default()
    }

    fn probe(&self, spec: &Value, prober: Prober) -> Result<BoxFuture<'static, Vec<Finding>>, Problems> {
        Ok(read_spec::<S>(spec)?.probe(prober))
    }
}

/// All kinds of flows.
pub static KINDS: &[&dyn FlowKind] = &[
    &Kind::<mirror::MirrorSpec> {
        title: "Mirror",
        about: "Relays a stream to its target and gives mirrors a copy that can't disturb it.",
        counters: mirror::COUNTERS,
        spec: std::marker::PhantomData,
    },
    &Kind::<multiplexer::MultiplexerSpec> {
        title: "Multiplexer",
        about: "Shares one connection to a device, or few, among many clients, and gives each its own answer.",
        counters: multiplexer::COUNTERS,
        spec: std::marker::PhantomData,
    },
];

/// The kind with this name.
pub fn find_kind(name: &str) -> Option<&'static dyn FlowKind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// Every kind with title, schema and counters in a language, as `flow.kinds` answers.
pub fn describe_kinds(language: &str) -> Value {
    let kinds: Vec<Value> = KINDS
        .iter()
        .map(|kind| {
            json!({
                "kind": kind.name(),
                "title": kind.title(),
                "description": kind.about(),
                "schema": kind.schema(),
                "counters": kind.counters().iter().map(|c| json!({"name": c.name, "title": c.title, "unit": c.unit, "gauge": c.gauge, "main": c.main, "history": c.history})).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut kinds = Value::from(kinds);
    i18n::translate(&mut kinds, language);
    kinds
}
