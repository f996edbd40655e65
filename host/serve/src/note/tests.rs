use super::*;

#[test]
fn a_note_comes_back_to_one_host_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (store, own) = (Store::new(directory.path()), directory.path().join("state"));
    let open = || Notebook::open(&store, Some(&own), directory.path());
    let notebook = open().unwrap();
    assert_eq!(notebook.read().unwrap(), Note::default());
    let mut quarantine = Quarantine::default();
    quarantine.strike();
    let note = Note {
        served: Some(3),
        pinned: Some(2),
        revoked: [1].into(),
        quarantined: [(4, quarantine)].into(),
    };
    notebook.write(&note).unwrap();
    assert_eq!(notebook.read().unwrap(), note);
    let error = open().unwrap_err().to_string();
    assert!(error.contains("another host"), "{error}");
    drop(notebook);
    assert_eq!(open().unwrap().read().unwrap(), note);

    fs::write(own.join("host.json"), "{").unwrap();
    let error = open().unwrap().read().unwrap_err().to_string();
    assert!(
        error.contains("host.json") && error.contains("starts with nothing pinned"),
        "{error}"
    );
}

#[test]
fn without_a_directory_the_last_generation_alone_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    let open = || Notebook::open(&store, None, directory.path()).unwrap();
    let (one, other) = (open(), open());
    let note = Note {
        served: Some(3),
        revoked: [1].into(),
        ..Note::default()
    };
    one.write(&note).unwrap();
    let expected = Note {
        served: Some(3),
        ..Note::default()
    };
    assert_eq!(other.read().unwrap(), expected);
}
