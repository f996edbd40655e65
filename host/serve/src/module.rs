use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::descriptor::{Descriptor, Kind};
use crate::digest::Digest;
use crate::direct::{DIRECT_MODULE, DirectModule};
use crate::instance::{CallLimits, Instance, InstanceState};
use crate::runtime::Runtime;
use crate::stack::{CALL_STACK_BYTES, has_room};
use crate::wit::{AGGREGATE, METADATA, ROW, WitDescriptor};

/// A loaded transform: its descriptor and its code, shared by the instances of all threads. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub runtime: Runtime,
    pub digest: Digest,
    pub descriptor: Descriptor,
    pub instances: InstancePre<InstanceState>,
    pub exports: Exports,
    /// The way in beside the component model, where the component has one.
    pub direct: Option<DirectModule>,
}

/// Where the functions are.
pub(crate) enum Exports {
    Row {
        apply: ComponentExportIndex,
    },
    Aggregate {
        fold: ComponentExportIndex,
        merge: ComponentExportIndex,
        read: ComponentExportIndex,
        batch: ComponentExportIndex,
    },
}

impl Module {
    pub(crate) fn new(runtime: &Runtime, digest: Digest, component: Component) -> Result<Self, DescribeError> {
        let export = |interface: &str, function: &str| -> Result<ComponentExportIndex, DescribeError> {
            component
                .get_export_index(None, interface)
                .and_then(|instance| component.get_export_index(Some(&instance), function))
                .ok_or_else(|| DescribeError::Missing(format!("{interface}#{function}")))
        };
        // Nothing is linked, so a component with an import cannot be instantiated.
        let instances = Linker::new(runtime.engine())
            .instantiate_pre(&component)
            .map_err(|error| DescribeError::Imports(format!("{error:#}")))?;
        let (descriptor, core) = describe(runtime, &instances, export(METADATA, "describe")?)?;
        let direct = core.and_then(|core| DirectModule::new(&core, &descriptor.kind));
        let exports = match &descriptor.kind {
            Kind::Row => Exports::Row {
                apply: export(ROW, "apply")?,
            },
            Kind::Aggregate(_) => Exports::Aggregate {
                fold: export(AGGREGATE, "fold")?,
                merge: export(AGGREGATE, "merge")?,
                read: export(AGGREGATE, "read")?,
                batch: export(AGGREGATE, "batch")?,
            },
        };
        Ok(Self {
            shared: Arc::new(Shared {
                runtime: runtime.clone(),
                digest,
                descriptor,
                instances,
                exports,
                direct,
            }),
        })
    }

    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// The component's digest.
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// What the module says of itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.shared.descriptor
    }

    /// A new instance, for one thread. Costs tens of microseconds and its memory; reuse it.
    ///
    /// # Errors
    /// The component traps at its start, exports other types than the contract's, or needs more than the limits allow.
    pub fn instantiate(&self, limits: CallLimits) -> Result<Instance, InstantiateError> {
        Instance::new(Arc::clone(&self.shared), limits)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.shared.descriptor.name)
            .field("digest", &self.shared.digest)
            .finish_non_exhaustive()
    }
}

/// What the modules say of themselves, by the same names.
pub fn descriptors(modules: &BTreeMap<String, Module>) -> BTreeMap<String, Descriptor> {
    modules
        .iter()
        .map(|(name, module)| (name.clone(), module.descriptor().clone()))
        .collect()
}

/// Of the call when a module is loaded: no request waits for it, and a busy machine must not refuse a good module.
const DESCRIBE_LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(2),
    ..CallLimits::SERVING
};

/// What the component says of itself, and the core module that it exports for direct calls.
fn describe(
    runtime: &Runtime,
    instances: &InstancePre<InstanceState>,
    function: ComponentExportIndex,
) -> Result<(Descriptor, Option<wasmtime::Module>), DescribeError> {
    if !has_room(CALL_STACK_BYTES) {
        return Err(DescribeError::Call(format!(
            "the call needs {CALL_STACK_BYTES} bytes of the thread's stack"
        )));
    }
    let call = || -> wasmtime::Result<(WitDescriptor, Option<wasmtime::Module>)> {
        let mut store = InstanceState::store(runtime.engine(), DESCRIBE_LIMITS);
        let instance = instances.instantiate(&mut store)?;
        let core = instance.get_module(&mut store, DIRECT_MODULE);
        let describe = instance.get_typed_func::<(), (WitDescriptor,)>(&mut store, function)?;
        Ok((describe.call(&mut store, ())?.0, core))
    };
    let (wit, core) = call().map_err(|error| DescribeError::Call(format!("{error:#}")))?;
    let descriptor = wit.try_into().map_err(DescribeError::Invalid)?;
    Ok((descriptor, core))
}

/// Why a component is no transform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// It lacks a function of the contract.
    #[error("it does not export {0}")]
    Missing(String),
    /// It imports something.
    #[error("a transform imports nothing: {0}")]
    Imports(String),
    /// Its `describe` fails.
    #[error("it does not describe itself: {0}")]
    Call(String),
    /// Its descriptor makes no sense.
    #[error("its descriptor is invalid: {0}")]
    Invalid(String),
}

/// Why an instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot instantiate module `{module}`: {reason}")]
pub struct InstantiateError {
    pub(crate) module: String,
    pub(crate) reason: String,
}
