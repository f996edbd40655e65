use std::collections::BTreeMap;
use std::ops::Range;

use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{KeyType, Lateness, Ttl};

use crate::catalog::{Binding, Catalog, Constant, Entity, Field, ModuleUse, PREDICTION_TIME, Service, Staleness, View};
use crate::descriptor::{ColumnDescriptor, Descriptor, Kind};

/// How a service's features are computed: which slots there are, which views fill them, which transforms run on them, and
/// which of them the model reads. Resolved and type-checked once; batch and serving follow the same plan.
///
/// A slot is a typed column. Slot 0 is the prediction time; then come the fields of the request, those of the candidates,
/// constants, features of views and outputs of transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The service's name.
    pub service: String,
    /// The slots.
    pub slots: Vec<Slot>,
    /// The fields of the request: slots 1 and on.
    pub request: Vec<Field>,
    /// The fields of a candidate: the slots after those of the request.
    pub candidate: Vec<Field>,
    /// The views that the service reads, each once.
    pub views: Vec<ViewStep>,
    /// The row transforms, each after those it reads.
    pub transforms: Vec<TransformStep>,
    /// What the model reads, in its order.
    pub features: Vec<FeatureStep>,
}

/// A typed column of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// `field`, `view:feature` or `transform:output`; a constant has none.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// The one value of a constant.
    pub constant: Option<Column>,
    /// The one value that takes the place of all where what computes them fails.
    pub fallback: Option<Column>,
}

/// A view that a service reads.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewStep {
    /// The view's name.
    pub view: String,
    /// The slots of the entity's key.
    pub keys: Vec<usize>,
    /// Their types.
    pub key_types: Vec<KeyType>,
    /// How long a value lives.
    pub ttl: Option<Ttl>,
    /// How old its snapshot may be.
    pub staleness: Option<Staleness>,
    /// How late an event may become known and still count.
    pub lateness: Option<Lateness>,
    /// What is read.
    pub read: ViewRead,
}

/// What is read of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewRead {
    /// Features that a source gives: names and slots.
    Features(Vec<(String, usize)>),
    /// An aggregate's outputs.
    Aggregate {
        /// The module's name.
        module: String,
        /// The slots of the query's inputs.
        inputs: Vec<usize>,
        /// The slots of its outputs.
        outputs: Range<usize>,
    },
}

/// A row transform of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformStep {
    /// Its name in the service.
    pub name: String,
    /// The module's name.
    pub module: String,
    /// The slots of its inputs.
    pub inputs: Vec<usize>,
    /// The slots of its outputs.
    pub outputs: Range<usize>,
}

/// A feature that the model reads.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureStep {
    /// As the service names it.
    pub name: String,
    /// Its slot.
    pub slot: usize,
    /// The view it comes from, as an index of [`Plan::views`].
    pub view: Option<usize>,
}

impl Plan {
    /// The plan of `service`, with the descriptors of the modules by name.
    ///
    /// # Errors
    /// A name that stands for nothing, a type that does not fit, a value that may be missing where none may: with the
    /// place and what to do.
    pub fn resolve(
        catalog: &Catalog,
        service: &str,
        modules: &BTreeMap<String, Descriptor>,
    ) -> Result<Self, ResolveError> {
        let fail = |reason: String| ResolveError {
            service: service.to_owned(),
            reason,
        };
        let definition = catalog
            .services
            .iter()
            .find(|candidate| candidate.name == service)
            .ok_or_else(|| {
                let names: Vec<&str> = catalog.services.iter().map(|service| service.name.as_str()).collect();
                fail(format!("there is no such service; there are: {}", names.join(", ")))
            })?;
        let mut resolver = Resolver {
            catalog,
            modules,
            plan: Self::of_fields(definition),
        };
        resolver.check_fields().map_err(fail)?;
        for transform in &definition.transforms {
            resolver
                .transform(transform)
                .map_err(|reason| fail(format!("transform `{}`: {reason}", transform.name)))?;
        }
        if definition.features.is_empty() {
            return Err(fail("it has no features".to_owned()));
        }
        for name in &definition.features {
            resolver
                .feature(name)
                .map_err(|reason| fail(format!("feature `{name}`: {reason}")))?;
        }
        for (name, value) in &definition.fallbacks {
            resolver
                .fallback(name, value)
                .map_err(|reason| fail(format!("fallback `{name}`: {reason}")))?;
        }
        Ok(resolver.plan)
    }

    /// The index of a feature.
    pub fn feature_index(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    /// The slots of the request's and the candidates' fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.request
            .iter()
            .chain(&self.candidate)
            .enumerate()
            .map(|(i, field)| (i + 1, field))
    }

    /// The names of the modules that run, some perhaps twice.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        let views = self.views.iter().filter_map(|step| match &step.read {
            ViewRead::Features(_) => None,
            ViewRead::Aggregate { module, .. } => Some(module.as_str()),
        });
        views.chain(self.transforms.iter().map(|step| step.module.as_str()))
    }

    /// A column for each slot, without rows; a constant's is there.
    pub fn columns(&self) -> Vec<Column> {
        self.slots
            .iter()
            .map(|slot| slot.constant.clone().unwrap_or_else(|| Column::new(slot.column_type)))
            .collect()
    }

    fn of_fields(service: &Service) -> Self {
        let mut slots = vec![Slot {
            name: PREDICTION_TIME.to_owned(),
            column_type: ColumnType::Timestamp,
            nullable: false,
            constant: None,
            fallback: None,
        }];
        slots.extend(service.request.iter().chain(&service.candidate).map(|field| Slot {
            name: field.name.clone(),
            column_type: field.column_type,
            nullable: field.nullable,
            constant: None,
            fallback: None,
        }));
        Self {
            service: service.name.clone(),
            slots,
            request: service.request.clone(),
            candidate: service.candidate.clone(),
            views: Vec::new(),
            transforms: Vec::new(),
            features: Vec::new(),
        }
    }
}

/// Why a service cannot be served: its definition is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("service `{service}`: {reason}")]
pub struct ResolveError {
    service: String,
    reason: String,
}

impl Constant {
    /// A scalar of the type, where the value is exactly of it.
    fn scalar(&self, column_type: ColumnType) -> Resolved<Column> {
        let value = match (self, column_type) {
            (Self::Bool(value), ColumnType::Bool) => Value::Bool(*value),
            (Self::I64(value), ColumnType::I64) => Value::I64(*value),
            (Self::I64(value), ColumnType::Timestamp) => Value::Timestamp(*value),
            (Self::I64(value), ColumnType::F64) if *value as f64 as i128 == i128::from(*value) => {
                Value::F64(*value as f64)
            }
            (Self::F64(value), ColumnType::F64) => Value::F64(*value),
            (Self::F64(value), ColumnType::F32) => Value::F32(*value as f32),
            (Self::Text(text), ColumnType::String) => Value::String(text),
            _ => return Err(format!("it is {column_type}, the constant is of another type")),
        };
        Column::scalar(column_type, value).map_err(|error| error.to_string())
    }
}

struct Resolver<'a> {
    catalog: &'a Catalog,
    modules: &'a BTreeMap<String, Descriptor>,
    plan: Plan,
}

type Resolved<T> = Result<T, String>;

impl<'a> Resolver<'a> {
    fn check_fields(&self) -> Resolved<()> {
        for (index, slot) in self.plan.slots.iter().enumerate() {
            if self.plan.slots[..index].iter().any(|other| other.name == slot.name) {
                return Err(format!("two fields are called `{}`", slot.name));
            }
            if slot.name.is_empty() || slot.name.contains(':') {
                return Err(format!(
                    "`{}` is no name of a field: it must not be empty or have a colon",
                    slot.name
                ));
            }
        }
        Ok(())
    }

    fn feature(&mut self, name: &str) -> Resolved<()> {
        if self.plan.features.iter().any(|feature| feature.name == name) {
            return Err("it is listed twice".to_owned());
        }
        let slot = self.reference(name)?;
        let view = name.split_once(':').map(|(view, _)| view);
        let view = self.plan.views.iter().position(|step| Some(step.view.as_str()) == view);
        self.plan.features.push(FeatureStep {
            name: name.to_owned(),
            slot,
            view,
        });
        Ok(())
    }

    fn transform(&mut self, transform: &crate::catalog::Transform) -> Resolved<()> {
        let name = &transform.name;
        let is_taken = self.plan.transforms.iter().any(|step| step.name == *name)
            || self.catalog.views.iter().any(|view| view.name == *name);
        if is_taken {
            return Err("another transform or view has this name".to_owned());
        }
        let descriptor = self.module(&transform.module)?;
        if descriptor.kind != Kind::Row {
            return Err(format!(
                "module `{}` is an aggregate: use it in a view",
                transform.module
            ));
        }
        let inputs = self.inputs(&descriptor.inputs, &transform.inputs)?;
        let outputs = self.outputs(name, &descriptor.outputs);
        self.plan.transforms.push(TransformStep {
            name: name.clone(),
            module: transform.module.clone(),
            inputs,
            outputs,
        });
        Ok(())
    }

    /// The slot of `field`, `view:feature` or `transform:output`. Adds the view if it is not read yet.
    fn reference(&mut self, name: &str) -> Resolved<usize> {
        if let Some(slot) = self.slot(name) {
            return Ok(slot);
        }
        let Some((source, feature)) = name.split_once(':') else {
            let fields: Vec<&str> = self.plan.fields().map(|(_, field)| field.name.as_str()).collect();
            return Err(format!(
                "the request has no field `{name}`; it has: {}",
                fields.join(", ")
            ));
        };
        if let Some(step) = self.plan.transforms.iter().find(|step| step.name == source) {
            return Err(format!("module `{}` has no output `{feature}`", step.module));
        }
        let catalog = self.catalog;
        let Some(view) = catalog.views.iter().find(|view| view.name == source) else {
            return Err(format!(
                "there is no view `{source}`, and no transform of that name before this place"
            ));
        };
        self.read_view(view, feature)
            .map_err(|reason| format!("view `{source}`: {reason}"))?;
        self.slot(name)
            .ok_or_else(|| format!("view `{source}` has no feature `{feature}`"))
    }

    fn read_view(&mut self, view: &'a View, feature: &str) -> Resolved<()> {
        let index = match self.plan.views.iter().position(|step| step.view == view.name) {
            Some(index) => index,
            None => self.add_view(view)?,
        };
        let name = format!("{}:{feature}", view.name);
        let ViewRead::Features(_) = self.plan.views[index].read else {
            return Ok(());
        };
        let Some(field) = view.features.iter().find(|field| field.name == feature) else {
            return Err(format!("it has no feature `{feature}`"));
        };
        let slot = self.push_slot(name, field.column_type, true);
        if let ViewRead::Features(features) = &mut self.plan.views[index].read {
            features.push((feature.to_owned(), slot));
        }
        Ok(())
    }

    fn add_view(&mut self, view: &'a View) -> Resolved<usize> {
        let catalog = self.catalog;
        let entity: &Entity = catalog
            .entities
            .iter()
            .find(|entity| entity.name == view.entity)
            .ok_or_else(|| format!("there is no entity `{}`", view.entity))?;
        let mut keys = Vec::new();
        for column in &entity.keys {
            let expected = column.key_type.column_type();
            let slot = self.slot(&column.name).ok_or_else(|| {
                format!(
                    "the request has no field `{}`, a key of entity `{}`",
                    column.name, entity.name
                )
            })?;
            let actual = self.plan.slots[slot].column_type;
            if actual != expected {
                return Err(format!(
                    "key `{}` is {expected}, the request's field is {actual}",
                    column.name
                ));
            }
            keys.push(slot);
        }
        let read = match &view.aggregate {
            None if view.lateness_us.is_some() => {
                return Err("it has a lateness, but no events: only an aggregate has".to_owned());
            }
            None => ViewRead::Features(Vec::new()),
            Some(aggregate) => self.aggregate(view, aggregate)?,
        };
        self.plan.views.push(ViewStep {
            view: view.name.clone(),
            keys,
            key_types: entity.keys.iter().map(|column| column.key_type).collect(),
            ttl: view.ttl_us.map(Ttl::from_micros),
            staleness: view.staleness,
            lateness: view.lateness(),
            read,
        });
        Ok(self.plan.views.len() - 1)
    }

    fn aggregate(&mut self, view: &View, aggregate: &ModuleUse) -> Resolved<ViewRead> {
        if view.ttl_us.is_some() {
            return Err("an aggregate has no ttl: its windows say how far it looks back".to_owned());
        }
        let descriptor = self.module(&aggregate.module)?;
        if descriptor.kind == Kind::Row {
            return Err(format!(
                "module `{}` is a row transform: use it in a service",
                aggregate.module
            ));
        }
        let inputs = self.inputs(&descriptor.inputs, &aggregate.inputs)?;
        let of_transform = |slot: &usize| self.plan.transforms.iter().find(|step| step.outputs.contains(slot));
        if let Some(transform) = inputs.iter().find_map(of_transform) {
            return Err(format!(
                "it reads transform `{}`, but views are read before transforms run",
                transform.name
            ));
        }
        Ok(ViewRead::Aggregate {
            module: aggregate.module.clone(),
            inputs,
            outputs: self.outputs(&view.name, &descriptor.outputs),
        })
    }

    fn inputs(&mut self, declared: &[ColumnDescriptor], bindings: &BTreeMap<String, Binding>) -> Resolved<Vec<usize>> {
        if let Some(unknown) = bindings
            .keys()
            .find(|name| declared.iter().all(|input| input.name != **name))
        {
            let names: Vec<&str> = declared.iter().map(|input| input.name.as_str()).collect();
            return Err(format!(
                "the module has no input `{unknown}`; it has: {}",
                names.join(", ")
            ));
        }
        declared
            .iter()
            .map(|input| {
                self.input(input, bindings.get(&input.name))
                    .map_err(|reason| format!("input `{}`: {reason}", input.name))
            })
            .collect()
    }

    fn input(&mut self, input: &ColumnDescriptor, binding: Option<&Binding>) -> Resolved<usize> {
        let reference = match binding {
            None => &input.name,
            Some(Binding::Reference(reference)) => reference,
            Some(constant) => return self.constant(input, constant),
        };
        let slot = self.reference(reference)?;
        let given = &self.plan.slots[slot];
        if given.column_type != input.column_type {
            return Err(format!(
                "it is {}, `{reference}` is {}",
                input.column_type, given.column_type
            ));
        }
        if given.nullable && !input.nullable {
            return Err(format!(
                "`{reference}` may be missing and the input may not: declare it as an Option in the module"
            ));
        }
        Ok(slot)
    }

    fn fallback(&mut self, name: &str, value: &Constant) -> Resolved<()> {
        let slot = self
            .slot(name)
            .ok_or("the service reads no such output of an aggregate or a transform")?;
        let is_output = |outputs: &Range<usize>| outputs.contains(&slot);
        let is_computed = self.plan.transforms.iter().any(|step| is_output(&step.outputs))
            || self
                .plan
                .views
                .iter()
                .any(|step| matches!(&step.read, ViewRead::Aggregate { outputs, .. } if is_output(outputs)));
        if !is_computed {
            return Err("nothing that can fail computes it: it is no output of an aggregate or a transform".to_owned());
        }
        self.plan.slots[slot].fallback = Some(value.scalar(self.plan.slots[slot].column_type)?);
        Ok(())
    }

    fn constant(&mut self, input: &ColumnDescriptor, binding: &Binding) -> Resolved<usize> {
        let constant = match binding {
            Binding::Bool(value) => Constant::Bool(*value),
            Binding::I64(value) => Constant::I64(*value),
            Binding::F64(value) => Constant::F64(*value),
            Binding::Text { text } | Binding::Reference(text) => Constant::Text(text.clone()),
        };
        let constant = constant.scalar(input.column_type)?;
        let slot = self.push_slot(String::new(), input.column_type, false);
        self.plan.slots[slot].constant = Some(constant);
        Ok(slot)
    }

    fn module(&self, name: &str) -> Resolved<&'a Descriptor> {
        self.modules.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.modules.keys().map(String::as_str).collect();
            format!("there is no module `{name}`; there are: {}", names.join(", "))
        })
    }

    fn outputs(&mut self, source: &str, outputs: &[ColumnDescriptor]) -> Range<usize> {
        let first = self.plan.slots.len();
        for output in outputs {
            self.push_slot(format!("{source}:{}", output.name), output.column_type, output.nullable);
        }
        first..self.plan.slots.len()
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.plan
            .slots
            .iter()
            .position(|slot| slot.constant.is_none() && slot.name == name)
    }

    fn push_slot(&mut self, name: String, column_type: ColumnType, nullable: bool) -> usize {
        self.plan.slots.push(Slot {
            name,
            column_type,
            nullable,
            constant: None,
            fallback: None,
        });
        self.plan.slots.len() - 1
    }
}

#[cfg(test)]
mod tests;
