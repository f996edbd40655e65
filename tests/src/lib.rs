//! Fixtures shared by the integration tests: the repository's transforms as components, and stores made of them.

pub mod bucket;
pub mod hostile;
mod python;
pub mod stamped;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use unskew::{CallLimits, Cpu, Digest, Host, HostOptions, Module, Runtime, Store};
use unskew_batch::{BackfillError, BackfillOptions, Project, TrainingSet, compute, publish, publish_deltas};
use unskew_registry::{BuildOptions, build_component, compile, load_modules};
use unskew_snapshot::EventTime;

pub use python::python;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lie in the repository")
}

/// The component of `transforms/<name>`, built once a process.
pub fn component(name: &str) -> &'static [u8] {
    built(&format!("transforms/{name}"))
}

/// The component of `tests/guests/<name>`, built once a process.
pub fn guest(name: &str) -> &'static [u8] {
    built(&format!("tests/guests/{name}"))
}

fn built(crate_dir: &str) -> &'static [u8] {
    static COMPONENTS: Mutex<BTreeMap<String, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let mut components = COMPONENTS.lock().unwrap_or_else(PoisonError::into_inner);
    components.entry(crate_dir.to_owned()).or_insert_with(|| {
        let options = BuildOptions {
            target_dir: Some(root().join("target/wasm")),
            ..BuildOptions::default()
        };
        let built = build_component(&root().join(crate_dir), &options)
            .unwrap_or_else(|error| panic!("cannot build {crate_dir}: {}", chain(&error)));
        built.component.leak()
    })
}

/// An error with its sources.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// A project in a directory of its own, with a store and the repository's modules.
#[derive(Debug)]
pub struct Fixture {
    /// The directory; it goes with the fixture.
    pub directory: TempDir,
    /// The project.
    pub project: Project,
    /// The store in it.
    pub store: Store,
    /// The modules by name.
    pub modules: BTreeMap<String, Module>,
}

impl Fixture {
    /// A project of this TOML and these files.
    pub fn new(toml: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in files {
            fs::write(directory.path().join(name), content).expect("a file in it");
        }
        let path = directory.path().join("unskew.toml");
        fs::write(&path, toml).expect("a file in it");
        let project = Project::load(&path).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let store = Store::new(directory.path().join("store"));
        seed_compiled(&store);
        let components = [component("ctr-history").to_vec(), component("request-context").to_vec()];
        let modules = load(&store, &components);
        Self {
            directory,
            project,
            store,
            modules,
        }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Materializes every view as of `watermark`, publishes a generation and gives its number.
    pub fn publish(&self, watermark: EventTime) -> u64 {
        publish(
            &self.project,
            &self.modules,
            &self.store,
            self.views(),
            watermark,
            |_| (),
        )
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
        .generation
    }

    /// The same by deltas on the snapshots of the store's current generation.
    pub fn publish_deltas(&self, watermark: EventTime) -> u64 {
        publish_deltas(
            &self.project,
            &self.modules,
            &self.store,
            self.views(),
            watermark,
            |_| (),
        )
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
        .generation
    }

    fn views(&self) -> impl Iterator<Item = &str> {
        self.project.catalog().views.iter().map(|view| view.name.as_str())
    }

    /// Computes the features of `service` for the spine in the file `spine`, whose time column is `time`.
    ///
    /// # Errors
    /// Those of [`compute`].
    pub fn try_compute(
        &self,
        service: &str,
        spine: &str,
        freeze_at: Option<EventTime>,
    ) -> Result<TrainingSet, BackfillError> {
        let options = BackfillOptions {
            service: service.to_owned(),
            spine: self.path(spine),
            time_column: "time".to_owned(),
            freeze_at,
            statuses: true,
            ..BackfillOptions::default()
        };
        compute(&self.project, &self.modules, &options, |_| ())
    }

    /// [`try_compute`](Self::try_compute) of a spine that can be computed.
    pub fn compute(&self, service: &str, spine: &str, freeze_at: Option<EventTime>) -> TrainingSet {
        self.try_compute(service, spine, freeze_at)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// A host of the store.
    pub fn host(&self) -> Host {
        Host::open(self.store.root(), patient()).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }
}

/// The modules of these components, by name, through `store`.
pub fn load(store: &Store, components: &[Vec<u8>]) -> BTreeMap<String, Module> {
    load_modules(runtime(), store, components).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Puts the repository's modules into the cache of native code of a store: they are compiled once a process.
fn seed_compiled(store: &Store) {
    static COMPILED: OnceLock<Vec<(Digest, Vec<u8>)>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let compiled = |name| {
            let code = compile(component(name), Cpu::best()).unwrap_or_else(|error| panic!("{}", chain(&error)));
            (Digest::of(component(name)), code)
        };
        ["ctr-history", "request-context"].map(compiled).into()
    });
    fs::create_dir_all(store.compiled_dir()).expect("a directory for native code");
    for (digest, code) in compiled {
        fs::write(Store::compiled_path(&store.compiled_dir(), digest, Cpu::best()), code).expect("native code");
    }
}

/// Options of a host on a machine that is busy with other tests: no deadline is missed for want of a processor.
pub fn patient() -> HostOptions {
    HostOptions {
        limits: CallLimits {
            deadline: Duration::from_secs(30),
            ..CallLimits::SERVING
        },
        ..HostOptions::default()
    }
}

/// The engine of the test process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("the engine runs here"))
}

/// The examples of README.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
