use super::*;
use serde_json::json;

fn row(id: &str) -> FlowRow {
    FlowRow { id: id.into(), owner: "jeedom".into(), kind: "mirror".into(), spec: json!({"listen": "[::]:1", "x": "é\"'"}), enabled: true }
}

#[tokio::test]
async fn what_is_stored_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, stored) = Store::open(dir.path());
    assert!(stored.flows.is_empty() && store.degraded().is_none());
    store.put_flow(row("a")).await.unwrap();
    store.put_flow(row("b")).await.unwrap();
    let changed = FlowRow { enabled: false, spec: json!({}), ..row("a") };
    store.put_flow(changed.clone()).await.unwrap();
    store
        .put_counters(vec![("a".into(), [("n".to_owned(), 7)].into()), ("b".into(), [("n".to_owned(), 1)].into())])
        .await
        .unwrap();
    store.remove_flow("b".into()).await.unwrap();
    drop(store);
    let (_, stored) = Store::open(dir.path());
    assert_eq!(stored.flows, [changed]);
    assert_eq!(stored.counters, [("a".to_owned(), [("n".to_owned(), 7)].into())].into());
}

#[tokio::test]
async fn writes_that_wait_together_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path());
    let writes = (0..500).map(|i| store.put_flow(row(&format!("f{i}"))));
    assert!(futures_util::future::join_all(writes).await.iter().all(Result::is_ok));
    drop(store);
    assert_eq!(Store::open(dir.path()).1.flows.len(), 500);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    for damage in [b"not a database at all, just text that is long enough to be read".to_vec(), vec![0xff; 8192]] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("domoflux.db"), &damage).unwrap();
        let (store, stored) = Store::open(dir.path());
        assert!(stored.flows.is_empty());
        assert!(store.degraded().unwrap().contains("damaged"));
        store.put_flow(row("a")).await.unwrap();
        drop(store);
        let kept = std::fs::read_dir(dir.path())
            .unwrap()
            .flatten()
            .find(|e| e.file_name().to_string_lossy().contains("damaged"))
            .unwrap();
        assert_eq!(std::fs::read(kept.path()).unwrap(), damage);
        assert_eq!(Store::open(dir.path()).1.flows, [row("a")]);
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_set_aside_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("domoflux.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE other (x); PRAGMA user_version = 99;")
        .unwrap();
    let (store, _) = Store::open(dir.path());
    assert!(store.degraded().unwrap().contains("newer domoflux"));
}

#[tokio::test]
async fn without_a_directory_it_keeps_things_in_memory_and_says_so() {
    let (store, stored) = Store::open(std::path::Path::new("/proc/no-such-directory"));
    assert!(stored.flows.is_empty());
    assert!(store.degraded().unwrap().contains("memory only"));
    store.put_flow(row("a")).await.unwrap();
}

#[tokio::test]
async fn what_a_read_only_disk_has_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path());
    store.put_flow(row("a")).await.unwrap();
    store.close().await;
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(schema::read_only(&dir.path().join("domoflux.db")).unwrap().flows, [row("a")]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before, "nothing was written beside it");
}
