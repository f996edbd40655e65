use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use unskew::catalog::{Catalog, Entity, EntityColumn, Field, ModuleUse, Staleness, View};
use unskew_snapshot::parse_duration_us;

use super::error::{Problem, Wrong};
use super::raw::{RawEntity, RawFeature, RawProject, RawSource, RawView};
use super::references::check_references;
use super::{ColumnBinding, Project, Source, ViewSource};
use crate::storage::{Storage, url_of};

/// Checks what a project file says of itself. What a service reads is checked where modules are known.
pub(super) fn check(raw: RawProject, path: &Path, text: &str) -> Result<Project, Wrong> {
    check_name("a project", &raw.project.name)?;
    let mut names = Names::new("an entity");
    let mut entities = Vec::with_capacity(raw.entity.len());
    for entity in raw.entity {
        names.add(&entity.name)?;
        entities.push(check_entity(entity)?);
    }

    let mut names = Names::new("a source");
    let mut sources = Vec::with_capacity(raw.source.len());
    let directory = path.parent().unwrap_or(Path::new(""));
    for source in raw.source {
        names.add(&source.name)?;
        sources.push(check_source(source, directory)?);
    }

    let mut names = Names::new("a view");
    let mut catalog_views = Vec::with_capacity(raw.view.len());
    let mut views = Vec::with_capacity(raw.view.len());
    for view in raw.view {
        names.add(&view.name)?;
        let (catalog_view, view) = check_view(view, &entities, &sources)?;
        catalog_views.push(catalog_view);
        views.push(view);
    }

    let mut names = Names::new("a service");
    for service in &raw.service {
        names.add_at(service.span(), &service.get_ref().name)?;
        check_references(service, &catalog_views, text)?;
    }
    let services = raw.service.into_iter().map(Spanned::into_inner).collect();
    Ok(Project {
        path: path.to_owned(),
        name: raw.project.name.into_inner(),
        catalog: Catalog {
            entities,
            views: catalog_views,
            services,
        },
        sources,
        views,
        storage: Storage::default(),
    })
}

fn check_entity(raw: RawEntity) -> Result<Entity, Wrong> {
    if raw.keys.is_empty() {
        let problem = Problem::NoKey(raw.name.get_ref().clone());
        return wrong(raw.name.span(), problem);
    }
    let mut names = Names::new("a key");
    for key in &raw.keys {
        names.add_at(key.span(), &key.get_ref().name)?;
    }
    Ok(Entity {
        name: raw.name.into_inner(),
        keys: raw.keys.into_iter().map(Spanned::into_inner).collect(),
    })
}

fn check_source(raw: RawSource, directory: &Path) -> Result<Source, Wrong> {
    let Some(event_time) = raw.event_time else {
        let problem = Problem::NoEventTime(raw.name.get_ref().clone());
        return wrong(raw.name.span(), problem);
    };
    Ok(Source {
        name: raw.name.into_inner(),
        path: match url_of(Path::new(&raw.path)) {
            Some(_) => raw.path.into(),
            None => directory.join(raw.path),
        },
        event_time,
        known_at: raw.known_at,
        types: raw
            .types
            .into_iter()
            .map(|(column, column_type)| (column, column_type.0))
            .collect(),
    })
}

fn check_view(raw: RawView, entities: &[Entity], sources: &[Source]) -> Result<(View, ViewSource), Wrong> {
    check_kind(&raw)?;
    let entity = find("an entity", &raw.entity, entities, |entity| &entity.name)?;
    let source = find("a source", &raw.source, sources, |source| &source.name)?;
    let ttl_us = raw
        .ttl
        .as_ref()
        .map(|ttl| check_duration(&raw, "TTL", ttl))
        .transpose()?;
    let staleness = check_staleness(&raw)?;
    let lateness_us = check_lateness(&raw, source)?;
    let keys = bind_keys(&raw, &entity.keys)?;
    let features = bind_features(raw.features.unwrap_or_default())?;
    for binding in keys.iter().chain(&features) {
        check_declared(raw.name.span(), raw.name.get_ref(), source, binding)?;
    }
    let field = |feature: &ColumnBinding| Field {
        name: feature.name.clone(),
        column_type: feature.column_type,
        nullable: false,
    };
    let name = raw.name.into_inner();
    let view = View {
        name: name.clone(),
        entity: entity.name.clone(),
        ttl_us,
        features: features.iter().map(field).collect(),
        aggregate: raw.module.map(|module| ModuleUse {
            module,
            inputs: raw.inputs.map(Spanned::into_inner).unwrap_or_default(),
        }),
        staleness,
        lateness_us,
    };
    let bindings = ViewSource {
        view: name,
        source: source.name.clone(),
        keys,
        features,
        events: raw.events.map(Spanned::into_inner).unwrap_or_default(),
    };
    Ok((view, bindings))
}

/// A view has features, or a module and what goes with it.
fn check_kind(raw: &RawView) -> Result<(), Wrong> {
    let name = || raw.name.get_ref().clone();
    let has_features = raw.features.as_ref().is_some_and(|f| !f.is_empty());
    let setting = |span, setting, reason| {
        let view = name();
        let problem = Problem::Setting { view, setting, reason };
        wrong(span, problem)
    };
    if raw.module.is_none() {
        const MODULE: &str = "only a view with a module has";
        if !has_features {
            return wrong(raw.name.span(), Problem::NoFeatures(name()));
        }
        if let Some(events) = &raw.events {
            return setting(events.span(), "events", MODULE);
        }
        if let Some(inputs) = &raw.inputs {
            return setting(inputs.span(), "inputs", MODULE);
        }
        if let Some(lateness) = &raw.lateness {
            return setting(lateness.span(), "lateness", MODULE);
        }
        return Ok(());
    }
    if raw.features.is_some() {
        return wrong(raw.name.span(), Problem::TwoKinds(name()));
    }
    match &raw.ttl {
        Some(ttl) => setting(
            ttl.span(),
            "ttl",
            "an aggregate does not have: its windows say how long an event counts",
        ),
        None => Ok(()),
    }
}

fn check_duration(raw: &RawView, setting: &'static str, duration: &Spanned<String>) -> Result<u64, Wrong> {
    parse_duration_us(duration.get_ref()).map_err(|error| Wrong {
        span: duration.span(),
        problem: Problem::Duration {
            view: raw.name.get_ref().clone(),
            setting,
            reason: error.to_string(),
        },
    })
}

fn check_staleness(raw: &RawView) -> Result<Option<Staleness>, Wrong> {
    match (&raw.max_age, &raw.when_stale) {
        (Some(max_age), when_stale) => Ok(Some(Staleness {
            max_age_us: check_duration(raw, "max_age", max_age)?,
            when_stale: when_stale.as_ref().map(|when| *when.get_ref()).unwrap_or_default(),
        })),
        (None, Some(when_stale)) => wrong(
            when_stale.span(),
            Problem::Setting {
                view: raw.name.get_ref().clone(),
                setting: "when_stale",
                reason: "only a view with a max_age has",
            },
        ),
        (None, None) => Ok(None),
    }
}

/// What was late is only known where it is known when it became known.
fn check_lateness(raw: &RawView, source: &Source) -> Result<Option<u64>, Wrong> {
    match &raw.lateness {
        None => Ok(None),
        Some(lateness) if source.known_at.is_none() => {
            let problem = Problem::NoKnownAt {
                view: raw.name.get_ref().clone(),
                source_name: source.name.clone(),
            };
            wrong(lateness.span(), problem)
        }
        Some(lateness) => check_duration(raw, "lateness", lateness).map(Some),
    }
}

fn bind_keys(raw: &RawView, keys: &[EntityColumn]) -> Result<Vec<ColumnBinding>, Wrong> {
    for name in raw.keys.keys() {
        find("a key", name, keys, |key| &key.name)?;
    }
    let bind = |key: &EntityColumn| ColumnBinding {
        name: key.name.clone(),
        column: raw.keys.get(key.name.as_str()).unwrap_or(&key.name).clone(),
        column_type: key.key_type.column_type(),
    };
    Ok(keys.iter().map(bind).collect())
}

fn bind_features(raw: Vec<RawFeature>) -> Result<Vec<ColumnBinding>, Wrong> {
    let mut names = Names::new("a feature");
    let bind = |feature: RawFeature| {
        names.add(&feature.name)?;
        let name = feature.name.into_inner();
        Ok(ColumnBinding {
            column: feature.column.unwrap_or_else(|| name.clone()),
            name,
            column_type: feature.column_type.0,
        })
    };
    raw.into_iter().map(bind).collect()
}

fn check_declared(span: Range<usize>, view: &str, source: &Source, binding: &ColumnBinding) -> Result<(), Wrong> {
    match source.types.get(&binding.column) {
        Some(declared) if *declared != binding.column_type => wrong(
            span,
            Problem::TypeConflict {
                view: view.to_owned(),
                source_name: source.name.clone(),
                column: binding.column.clone(),
                declared: *declared,
                used: binding.column_type,
            },
        ),
        _ => Ok(()),
    }
}

fn find<'a, T>(
    kind: &'static str,
    name: &Spanned<String>,
    known: &'a [T],
    name_of: impl Fn(&T) -> &String,
) -> Result<&'a T, Wrong> {
    known
        .iter()
        .find(|item| name_of(item) == name.get_ref())
        .ok_or_else(|| Wrong {
            span: name.span(),
            problem: Problem::Unknown {
                kind: kind.to_owned(),
                name: name.get_ref().clone(),
                known: known.iter().map(|item| name_of(item).clone()).collect(),
            },
        })
}

/// The names of one kind of thing, each used once.
struct Names {
    kind: &'static str,
    seen: BTreeSet<String>,
}

impl Names {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, name: &Spanned<String>) -> Result<(), Wrong> {
        self.add_at(name.span(), name.get_ref())
    }

    fn add_at(&mut self, span: Range<usize>, name: &str) -> Result<(), Wrong> {
        check_name_at(self.kind, span.clone(), name)?;
        if self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let problem = Problem::Duplicate {
            kind: self.kind,
            name: name.to_owned(),
        };
        wrong(span, problem)
    }
}

fn check_name(kind: &'static str, name: &Spanned<String>) -> Result<(), Wrong> {
    check_name_at(kind, name.span(), name.get_ref())
}

/// Whether a name has no letter that separates names elsewhere.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(is_plain)
}

fn check_name_at(kind: &'static str, span: Range<usize>, name: &str) -> Result<(), Wrong> {
    if is_plain_name(name) {
        return Ok(());
    }
    let problem = Problem::Name {
        kind,
        name: name.to_owned(),
    };
    wrong(span, problem)
}

fn wrong<T>(span: Range<usize>, problem: Problem) -> Result<T, Wrong> {
    Err(Wrong { span, problem })
}
