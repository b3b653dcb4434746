//! The supervisor and the registry with flows that misbehave on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::supervisor::{Refused, Supervisor};
use super::*;
use crate::mirror::MirrorSpec;
use crate::store::Store;

/// A kind whose spec says how it behaves: `{"open": "ok" | "panic" | "fail", "serve": "wait" | "panic" | "fail" | "end"}`.
struct Odd {
    opened: AtomicUsize,
}

struct OddFlow(Value);

impl FlowKind for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }
    fn title(&self) -> &'static str {
        "Odd"
    }
    fn about(&self) -> &'static str {
        "Odd"
    }
    fn counters(&self) -> &'static [CounterDef] {
        &[]
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn build(&self, spec: &Value) -> Result<Box<dyn Flow>, Problems> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(OddFlow(spec.clone())))
    }
}

fn failure() -> FlowError {
    FlowError::Listen { address: ([127, 0, 0, 1], 1).into(), reason: "the test wants it".into() }
}

impl Flow for OddFlow {
    fn open(self: Box<Self>, cx: FlowContext) -> BoxFuture<'static, Result<Serve, FlowError>> {
        async move {
            match self.0["open"].as_str() {
                Some("panic") => panic!("open panics"),
                Some("fail") => return Err(failure()),
                _ => {}
            }
            let serve = self.0["serve"].clone();
            let served: Serve = Box::pin(async move {
                match serve.as_str() {
                    Some("panic") => panic!("serve panics"),
                    Some("fail") => Err(failure()),
                    Some("end") => Ok(()),
                    _ => {
                        cx.draining().await;
                        Ok(())
                    }
                }
            });
            Ok(served)
        }
        .boxed()
    }
}

fn odd() -> (Arc<Supervisor>, &'static Odd) {
    let kind: &'static Odd = Box::leak(Box::new(Odd { opened: AtomicUsize::new(0) }));
    (Supervisor::new("odd", "test", kind, Means::new(1 << 20, Store::in_memory(), None)), kind)
}

async fn state_becomes(flow: &Supervisor, wanted: State) -> FlowStatus {
    loop {
        let status = flow.status();
        if status.state == wanted {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // the clock is paused: this only lets others run
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_that_flow_and_it_is_tried_again() {
    for spec in [json!({"open": "panic"}), json!({"serve": "panic"}), json!({"serve": "end"}), json!({"serve": "fail"})] {
        let (flow, kind) = odd();
        flow.start_stored(spec.clone(), true).await;
        let status = state_becomes(&flow, State::Backoff).await;
        assert!(status.error.is_some() && status.retry_in_ms.is_some(), "{status:?}");
        tokio::time::sleep(Duration::from_secs(200)).await;
        let tried = kind.opened.load(Ordering::Relaxed);
        assert!((5..30).contains(&tried), "{tried} attempts in 200 s for {spec}");
        flow.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_cannot_be_opened_leaves_the_old_one_serving() {
    let (flow, _) = odd();
    assert!(flow.change("test", &json!({"n": 1}), true).await.is_ok());
    state_becomes(&flow, State::Serving).await;
    for bad in [json!({"open": "fail"}), json!({"open": "panic"})] {
        assert!(matches!(flow.change("test", &bad, true).await, Err(Refused::Kept(_))));
        let status = flow.status();
        assert_eq!((status.state, &status.spec), (State::Serving, &json!({"n": 1})));
    }
    assert!(flow.change("test", &json!({"n": 2}), true).await.is_ok());
    assert_eq!(state_becomes(&flow, State::Serving).await.spec, json!({"n": 2}));
    assert!(flow.change("test", &json!({"n": 2}), false).await.is_ok());
    assert_eq!(flow.status().state, State::Disabled);
}

#[tokio::test(start_paused = true)]
async fn a_new_flow_that_cannot_be_opened_is_listed_and_mended_by_an_edit() {
    let (flow, _) = odd();
    assert!(matches!(flow.change("test", &json!({"open": "fail"}), true).await, Err(Refused::Listed(_))));
    state_becomes(&flow, State::Backoff).await;
    assert!(flow.change("test", &json!({}), true).await.is_ok());
    let status = state_becomes(&flow, State::Serving).await;
    assert_eq!(status.error, None);
}

/// Every field can stand in for a wrong value, or the search for further errors would end there.
#[test]
fn every_required_field_of_every_kind_has_an_example_that_can_be_read() {
    for kind in KINDS {
        let schema = kind.schema();
        // Where one of several fields is needed, no single one is required, and the whole has an example.
        let mut example = schema["examples"].get(0).cloned().unwrap_or_else(|| json!({}));
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let examples = &schema["properties"][name]["examples"];
            assert!(examples[0] != Value::Null, "{}.{name} has no example", kind.name());
            example[name] = examples[0].clone();
        }
        assert_eq!(kind.build(&example).map(drop), Ok(()), "{}: {example}", kind.name());
        for (name, field) in schema["properties"].as_object().unwrap() {
            assert!(field["title"].is_string() && field["description"].is_string(), "{}.{name} has no text", kind.name());
            if let Some(value) = field["examples"].get(0).filter(|_| name != INSTEAD) {
                example[name] = value.clone();
            }
        }
        assert_eq!(kind.build(&example).map(drop), Ok(()), "{}: {example}", kind.name());
    }
}

/// A device is on the network or on a serial line, not both.
const INSTEAD: &str = "serial";

#[test]
fn all_errors_of_a_spec_are_found_at_once() {
    let spec = json!({
        "listen": 5,
        "mirrors": [{"address": "x"}, {"address": "a:1", "buffer": -1, "colour": "red"}, 7],
        "keepalive": "maybe",
        "allow": ["10.0.0.0/8", "everybody"],
        "max_connections": 0,
    });
    let problems = read_spec::<MirrorSpec>(&spec).unwrap_err();
    let mut pointers: Vec<_> = problems.0.iter().map(|p| p.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/allow/1",
            "/keepalive",
            "/listen",
            "/max_connections",
            "/mirrors/0/address",
            "/mirrors/1/buffer",
            "/mirrors/1/colour",
            "/mirrors/2",
            "/target"
        ],
        "{problems}"
    );
}

/// Of a list as well: the wrong ones, each at its place, and nothing about what stands in for them meanwhile.
#[test]
fn all_errors_of_a_list_of_targets_are_found_at_once() {
    let example = "receiver.example:10001";
    for (targets, wrong) in [
        (json!(["a:1", "b", 7, "c:99999", "d:1"]), vec!["/target/1", "/target/2", "/target/3"]),
        (json!(["a", "b", example, null]), vec!["/target/0", "/target/1", "/target/3"]),
        (
            json!(["a:1", "b:0", "A:1", "127.0.0.1:7", "[::1]:1", "[0::1]:1"]),
            vec!["/target/1", "/target/2", "/target/3", "/target/5"],
        ),
        (json!([example, example]), vec!["/target/1"]),
        (json!([["a:1"], {"b": 1}]), vec!["/target/0", "/target/1"]),
        (json!(["a:0"]), vec!["/target/0"]),
        (json!("a:0"), vec!["/target"]),
        (json!(["a"]), vec!["/target/0"]),
        (json!([]), vec!["/target"]),
        (json!({"0": "a:1"}), vec!["/target"]),
        (json!(["x", "b:1", "c:1", "d:1", "e:1", "f:1", "g:1", "h:1", "i:1"]), vec!["/target/0", "/target"]),
    ] {
        let spec = json!({"listen": "127.0.0.1:7", "mirrors": [{"address": "m"}], "target": targets});
        let problems = read_spec::<MirrorSpec>(&spec).unwrap_err();
        let pointers: Vec<_> = problems.0.iter().map(|p| p.pointer.as_str()).filter(|p| p.starts_with("/target")).collect();
        assert_eq!(pointers, wrong, "{targets}: {problems}");
        assert!(problems.0.iter().any(|p| p.pointer == "/mirrors/0/address"), "{targets}: {problems}");
    }
    // The example that stands in for `listen` is no loop.
    let spec = json!({"listen": 5, "mirrors": [{"address": "m:1"}], "target": ["127.0.0.1:10001"]});
    let problems = read_spec::<MirrorSpec>(&spec).unwrap_err();
    assert_eq!(problems.0.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(), ["/listen"], "{problems}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("127.0.0.1:1")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let key = prop_oneof!["[a-z/~_]{0,8}", Just("mirrors".to_owned()), Just("address".to_owned()), Just("listen".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_the_reader_panic_or_go_on_for_ever(spec in any_json()) {
        if let Err(problems) = read_spec::<MirrorSpec>(&spec) {
            prop_assert!(!problems.0.is_empty() && problems.0.len() <= 100);
            prop_assert!(problems.0.iter().all(|p| !p.message.is_empty()));
        }
    }
}
