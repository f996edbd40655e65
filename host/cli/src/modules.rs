use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use unskew::catalog::{Binding, Catalog, Service, View};
use unskew::{ActivateError, GoldenFunction, Manifest, Module, Runtime, Store, StoreError};
use unskew_registry::{
    MAX_COMPONENT_BYTES, VECTORS_FILE, World, check_component, compile_into, load_modules, vector_calls,
};

use crate::failure::{Context, Failure};

/// Modules, by name.
#[derive(Default)]
pub struct LoadedModules {
    pub modules: BTreeMap<String, Module>,
    /// The generation that they are of, if they are of one.
    pub generation: Option<u64>,
}

/// A component as it is loaded here, in a store of its own, and how many golden vectors its author put into it, which it keeps to.
pub fn load_alone(component: &[u8]) -> Result<(Module, usize), Failure> {
    let scratch = tempfile::tempdir().context(|| "cannot make a temporary folder".to_owned())?;
    let modules = load_modules(&Runtime::new()?, &Store::new(scratch.path()), &[component.to_vec()])?;
    let module = modules
        .into_values()
        .next()
        .ok_or_else(|| Failure::new("it gave no module"))?;
    let calls = vector_calls(component, &module)?;
    let vectors = calls
        .iter()
        .filter(|call| !matches!(call.function, GoldenFunction::Fold | GoldenFunction::Read));
    Ok((module, vectors.count()))
}

/// In words.
pub fn golden_vectors(count: usize) -> String {
    match count {
        0 => format!("none: {VECTORS_FILE} in its crate says what it gives, and every host checks that"),
        1 => "1 vector holds".to_owned(),
        count => format!("{count} vectors hold"),
    }
}

/// Which modules.
#[derive(Args, Debug)]
pub struct ModuleArgs {
    /// A transform's component; give one for each module that is used. They are kept in the store.
    ///
    /// Without any, the modules are those of the store's current generation.
    #[arg(long = "module", value_name = "FILE.wasm", num_args = 1..)]
    pub modules: Vec<PathBuf>,
}

impl ModuleArgs {
    /// Loads the modules that were given, else those of the store's current generation, by name. None, where none is
    /// `needed` and none is given.
    pub fn load(&self, store: &Store, needed: &BTreeSet<&str>) -> Result<LoadedModules, Failure> {
        if self.modules.is_empty() && needed.is_empty() {
            return Ok(LoadedModules::default());
        }
        let runtime = Runtime::new()?;
        let loaded = match self.modules.is_empty() {
            true => load_current(&runtime, store)?,
            false => LoadedModules {
                modules: load_files(&runtime, store, &self.modules)?,
                generation: None,
            },
        };
        match needed.iter().find(|name| !loaded.modules.contains_key(**name)) {
            None => Ok(loaded),
            Some(name) => Err(self.missing(name, store, &loaded.modules)),
        }
    }

    fn missing(&self, name: &str, store: &Store, modules: &BTreeMap<String, Module>) -> Failure {
        let known: Vec<&str> = modules.keys().map(String::as_str).collect();
        let message = match self.modules.is_empty() {
            true => format!(
                "the current generation of {} has no module `{name}`; it has: {}",
                store.root().display(),
                known.join(", ")
            ),
            false => format!("module `{name}` was not given; given were: {}", known.join(", ")),
        };
        Failure::new(message).help(format!("give its component: --module {name}.wasm"))
    }
}

/// The modules that a view reads.
pub fn modules_of_view(view: &View) -> impl Iterator<Item = &str> {
    view.aggregate.iter().map(|aggregate| aggregate.module.as_str())
}

/// The modules that a service uses, and the views that it reads.
pub fn modules_of_service<'a>(catalog: &'a Catalog, service: &'a Service) -> BTreeSet<&'a str> {
    let mut modules: BTreeSet<&str> = service.transforms.iter().map(|step| step.module.as_str()).collect();
    let bound = service.transforms.iter().flat_map(|step| references(&step.inputs));
    let mut names: Vec<&str> = service.features.iter().map(String::as_str).chain(bound).collect();
    let mut seen = BTreeSet::new();
    // The inputs of an aggregate may be features of other views.
    while let Some(name) = names.pop() {
        let Some((view, _)) = name.split_once(':') else {
            continue;
        };
        if seen.insert(view) {
            for view in catalog.views.iter().filter(|known| known.name == view) {
                modules.extend(modules_of_view(view));
                names.extend(
                    view.aggregate
                        .iter()
                        .flat_map(|aggregate| references(&aggregate.inputs)),
                );
            }
        }
    }
    modules
}

fn references(inputs: &BTreeMap<String, Binding>) -> impl Iterator<Item = &str> {
    inputs.values().filter_map(|binding| match binding {
        Binding::Reference(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The manifest of the store's current generation.
pub fn current_manifest(store: &Store) -> Result<Manifest, Failure> {
    let empty = || ActivateError::Empty {
        path: store.root().to_owned(),
    };
    if !store.root().exists() {
        let failure = Failure::new(format!("there is no store at {}", store.root().display()));
        return Err(failure.help(WITHOUT_GENERATION));
    }
    let number = store
        .current()
        .map_err(|error| {
            let help = match &error {
                StoreError::Damaged { .. } => "write into it the number of one of the files in `generations`",
                _ => "give the directory that `unskew publish` wrote",
            };
            Failure::from(error).help(help)
        })?
        .ok_or_else(|| Failure::from(empty()).help(WITHOUT_GENERATION))?;
    store
        .manifest(number)
        .help(|| "publish again with `unskew publish`, which makes the next generation".to_owned())
}

const WITHOUT_GENERATION: &str = "give another store with --store, or publish into this one: unskew publish --module …";

/// Reads a component and checks it against the contract; its world is what the check found.
pub fn read_component(path: &Path) -> Result<(Vec<u8>, World), Failure> {
    let mut bytes = Vec::new();
    // One byte more than is taken: a larger file is refused without reading it all.
    File::open(path)
        .and_then(|file| file.take(MAX_COMPONENT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            let failure = Failure::from(error);
            match is_missing {
                true => failure.help("build it from its crate: unskew build path/to/crate"),
                false => failure,
            }
        })
        .context(|| format!("cannot read {}", path.display()))?;
    let world = check_component(&bytes).context(|| format!("{} is not a transform", path.display()))?;
    Ok((bytes, world))
}

fn load_files(runtime: &Runtime, store: &Store, paths: &[PathBuf]) -> Result<BTreeMap<String, Module>, Failure> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    let mut files: BTreeMap<String, &Path> = BTreeMap::new();
    for path in paths {
        let (component, _) = read_component(path)?;
        let loaded =
            load_modules(runtime, store, &[component]).context(|| format!("cannot load {}", path.display()))?;
        for (name, module) in loaded {
            let digest = module.digest();
            let other = modules.insert(name.clone(), module);
            let file = files.insert(name.clone(), path);
            if let (Some(other), Some(file)) = (other, file)
                && other.digest() != digest
            {
                let (file, path) = (file.display(), path.display());
                let message = format!("{file} and {path} are different modules of one name, `{name}`");
                return Err(Failure::new(message).help("give one of them"));
            }
        }
    }
    Ok(modules)
}

fn load_current(runtime: &Runtime, store: &Store) -> Result<LoadedModules, Failure> {
    let manifest = current_manifest(store)?;
    let compiled = store.compiled_dir();
    let modules = manifest
        .modules
        .iter()
        .map(|(name, entry)| {
            let load = || -> Result<Module, Failure> {
                compile_into(store, &compiled, &entry.digest)?;
                Ok(runtime.load(&compiled, &entry.digest)?)
            };
            let module = load().context(|| {
                format!(
                    "cannot load module `{name}` of generation {} in {}",
                    manifest.generation,
                    store.root().display()
                )
            })?;
            Ok((name.clone(), module))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(LoadedModules {
        modules,
        generation: Some(manifest.generation),
    })
}
