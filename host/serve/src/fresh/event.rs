use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{
    EntityKey, EventTime, KeyPart, Lateness, Layers, Version, decode_row, encode_row, event_visible_from,
    is_event_visible, is_late, is_visible, visible_from,
};

use crate::catalog::{Catalog, EntityColumn, Field, View};
use crate::descriptor::{Descriptor, Kind};
use crate::fresh::PushError;

/// The most events of one push.
pub const MAX_PUSH_EVENTS: usize = 1 << 16;
/// And the most bytes that they take.
const MAX_PUSH_BYTES: usize = 64 << 20;

/// What an event of a view has, in this order: the parts of the entity's key, then its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventSchema {
    pub view: String,
    /// Whether a module folds the events, or each is a row of features.
    pub is_aggregate: bool,
    pub keys: Vec<EntityColumn>,
    pub columns: Vec<Field>,
}

impl EventSchema {
    /// What the events of a view have, with the descriptor of its module; none where events could not be used.
    pub fn new(catalog: &Catalog, view: &View, module: Option<&Descriptor>, layers: &Layers) -> Option<Self> {
        let entity = catalog.entities.iter().find(|entity| entity.name == view.entity)?;
        let columns = match (&view.aggregate, module.map(|module| &module.kind)) {
            (None, _) => view.features.iter().map(|field| Field {
                nullable: true,
                ..field.clone()
            }),
            (Some(_), Some(Kind::Aggregate(aggregation))) => {
                let columns = aggregation.events.iter().map(|column| Field {
                    name: column.name.clone(),
                    column_type: column.column_type,
                    nullable: column.nullable,
                });
                return Some(Self {
                    view: view.name.clone(),
                    is_aggregate: true,
                    keys: entity.keys.clone(),
                    columns: columns.collect(),
                });
            }
            (Some(_), _) => return None,
        };
        let columns: Vec<Field> = columns.collect();
        let in_snapshot = layers.schema().features.iter();
        let in_snapshot = in_snapshot.map(|feature| (feature.name.as_str(), feature.column_type));
        let in_catalog = columns.iter().map(|field| (field.name.as_str(), field.column_type));
        in_snapshot.eq(in_catalog).then(|| Self {
            view: view.name.clone(),
            is_aggregate: false,
            keys: entity.keys.clone(),
            columns,
        })
    }

    /// Columns of an event's values, to append to.
    pub fn value_columns(&self) -> Vec<Column> {
        self.columns
            .iter()
            .map(|field| Column::new(field.column_type))
            .collect()
    }
}

/// An event as it was pushed, of the schema of the generation that was served then.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub schema: Arc<EventSchema>,
    pub key: EntityKey,
    pub event_time: EventTime,
    pub known_at: Option<EventTime>,
    /// The canonical bytes of its columns' values.
    pub row: Box<[u8]>,
}

impl Event {
    /// The first instant at which reads may see it, and the first watermark of a snapshot that has it.
    pub fn visible_from(&self) -> EventTime {
        match self.schema.is_aggregate {
            true => event_visible_from(self.event_time, self.known_at),
            false => visible_from(self.event_time, self.known_at),
        }
    }

    /// Whether a snapshot as of `watermark` has it: the rule that snapshots are materialized by.
    pub fn is_within(&self, watermark: EventTime) -> bool {
        match self.schema.is_aggregate {
            true => is_event_visible(self.event_time, self.known_at, watermark),
            false => is_visible(self.event_time, self.known_at, watermark),
        }
    }

    /// Whether it became known too late to count, by the rule that snapshots are materialized by.
    pub fn is_late(&self, lateness: Option<Lateness>) -> bool {
        is_late(self.event_time, self.known_at, lateness)
    }

    /// Whether it happened, or became known, later than `latest`. At the last instant nothing happens: no read is after it.
    pub fn is_later_than(&self, latest: EventTime) -> bool {
        self.event_time.max(self.known_at.unwrap_or(EventTime::MIN)) > latest || self.event_time == EventTime::MAX
    }

    pub fn version(&self) -> Version<'_> {
        Version {
            event_time: self.event_time,
            known_at: self.known_at,
            row: &self.row,
        }
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        // Besides: what counts its owners, and a place in each list of events that it is in.
        size_of::<Self>() + self.key.as_bytes().len() + self.row.len() + 6 * size_of::<usize>()
    }

    /// Appends its values to columns of its schema.
    pub fn append_to(&self, columns: &mut [Column]) {
        let decoded = decode_row(&self.row, columns);
        debug_assert!(decoded.is_some(), "an event is of its schema");
    }

    /// The same event for another generation: itself where that has the same schema. None where the other needs what the event
    /// does not have.
    pub fn fit(self: &Arc<Self>, schema: &Arc<EventSchema>) -> Option<Arc<Self>> {
        if Arc::ptr_eq(&self.schema, schema) || self.schema == *schema {
            return Some(Arc::clone(self));
        }
        let has_same_key = self
            .schema
            .keys
            .iter()
            .map(|key| key.key_type)
            .eq(schema.keys.iter().map(|key| key.key_type));
        if self.schema.is_aggregate != schema.is_aggregate || !has_same_key {
            return None;
        }
        let mut columns = self.schema.value_columns();
        self.append_to(&mut columns);
        let mut values = Vec::new();
        for wanted in &schema.columns {
            let place = self.schema.columns.iter().position(|column| column.name == wanted.name);
            let value = match place.map(|place| &columns[place]) {
                Some(column) if column.column_type() != wanted.column_type => return None,
                Some(column) => column.value(0),
                None => Value::Null,
            };
            if value.is_null() && !wanted.nullable {
                return None;
            }
            values.push(value);
        }
        let mut row = Vec::new();
        encode_row(&values, &mut row);
        Some(Arc::new(Self {
            schema: Arc::clone(schema),
            key: self.key.clone(),
            event_time: self.event_time,
            known_at: self.known_at,
            row: row.into(),
        }))
    }
}

/// Events of one view, to be [pushed](crate::Host::push): for the caller to fill, push, clear and fill again.
#[derive(Clone, Debug)]
pub struct Events {
    schema: Arc<EventSchema>,
    /// By the order of the schema, the place of the value among those that the caller gives.
    places: Vec<Option<usize>>,
    /// How many values the caller gives.
    width: usize,
    bytes: usize,
    events: Vec<Result<Arc<Event>, Refusal>>,
}

impl Events {
    /// Of a schema, for values in the order of `columns`.
    pub(crate) fn new(schema: &Arc<EventSchema>, columns: &[&str]) -> Result<Self, PushError> {
        let refuse = |column: &str, reason: String| PushError::Column {
            view: schema.view.clone(),
            column: column.to_owned(),
            reason,
        };
        let names = || {
            let keys = schema.keys.iter().map(|key| key.name.as_str());
            keys.chain(schema.columns.iter().map(|column| column.name.as_str()))
        };
        for (index, column) in columns.iter().enumerate() {
            if !names().any(|name| name == *column) {
                let names: Vec<&str> = names().collect();
                let reason = format!(
                    "events of the view have no such column; they have: {}",
                    names.join(", ")
                );
                return Err(refuse(column, reason));
            }
            if columns[..index].contains(column) {
                return Err(refuse(column, "it is there twice".to_owned()));
            }
        }
        let places: Vec<Option<usize>> = names()
            .map(|name| columns.iter().position(|column| *column == name))
            .collect();
        let is_needed = |index: usize| match index.checked_sub(schema.keys.len()) {
            None => true,
            Some(column) => !schema.columns[column].nullable,
        };
        let missing = names()
            .enumerate()
            .find(|(index, _)| places[*index].is_none() && is_needed(*index));
        if let Some((_, name)) = missing {
            return Err(refuse(name, "it is needed and not among the columns".to_owned()));
        }
        Ok(Self {
            schema: Arc::clone(schema),
            places,
            width: columns.len(),
            bytes: 0,
            events: Vec::new(),
        })
    }

    /// The view.
    pub fn view(&self) -> &str {
        &self.schema.view
    }

    /// Adds an event: when it happened, when it became known, where the view's source says that of its rows, and its values in
    /// the order of the columns that were asked for. An event that lacks what it needs is added as well, and refused when it is
    /// pushed.
    ///
    /// # Errors
    /// [`PushError::Column`]: another number of values, or one of another type than its column. [`PushError::TooMany`]: there are
    /// [`MAX_PUSH_EVENTS`] already, or as many bytes of them as 64 MiB. The event was not added.
    pub fn push(
        &mut self,
        event_time: EventTime,
        known_at: Option<EventTime>,
        values: &[Value<'_>],
    ) -> Result<(), PushError> {
        let schema = &self.schema;
        let refuse = |column: &str, reason: String| PushError::Column {
            view: schema.view.clone(),
            column: column.to_owned(),
            reason,
        };
        if values.len() != self.width {
            let reason = format!("an event has {} values, not {}", self.width, values.len());
            return Err(refuse("*", reason));
        }
        let value = |place: Option<usize>| place.map_or(Value::Null, |place| values[place]);
        let fits =
            |value: Value<'_>, column_type: ColumnType| value.is_null() || value.column_type() == Some(column_type);
        let (of_key, of_columns) = self.places.split_at(schema.keys.len());
        let mut refusal = None;
        let mut key = EntityKey::default();
        for (column, place) in schema.keys.iter().zip(of_key) {
            let value = value(*place);
            if !fits(value, column.key_type.column_type()) {
                return Err(refuse(&column.name, format!("it is {}", column.key_type.column_type())));
            }
            match KeyPart::of(value) {
                None => refusal = Some(Refusal::NoKey),
                Some(part) if key.push(part).is_err() => refusal = Some(Refusal::LongKey),
                Some(_) => {}
            }
        }
        let mut row = Vec::with_capacity(9 * of_columns.len());
        for (column, place) in schema.columns.iter().zip(of_columns) {
            let value = value(*place);
            if !fits(value, column.column_type) {
                return Err(refuse(&column.name, format!("it is {}", column.column_type)));
            }
            if value.is_null() && !column.nullable {
                refusal = refusal.or(Some(Refusal::MissingValue));
            }
            encode_row(&[value], &mut row);
        }
        let bytes = self.bytes + key.as_bytes().len() + row.len();
        if self.events.len() >= MAX_PUSH_EVENTS || bytes > MAX_PUSH_BYTES {
            return Err(PushError::TooMany {
                view: schema.view.clone(),
            });
        }
        self.bytes = bytes;
        self.events.push(match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Arc::new(Event {
                schema: Arc::clone(schema),
                key,
                event_time,
                known_at,
                row: row.into(),
            })),
        });
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Drops the events and keeps the columns.
    pub fn clear(&mut self) {
        self.bytes = 0;
        self.events.clear();
    }

    pub(crate) fn schema(&self) -> &EventSchema {
        &self.schema
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Result<Arc<Event>, Refusal>> {
        self.events.iter()
    }
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum Refusal {
    /// A part of its entity's key is missing: it is nobody's.
    NoKey = 0,
    /// Its entity's key is longer than keys may be.
    LongKey = 1,
    /// A column is missing that may not be.
    MissingValue = 2,
    /// It happened, or became known, later than now: by more than [`FreshOptions::max_ahead`](crate::FreshOptions::max_ahead).
    Future = 3,
    /// Its entity has as many fresh events as it may:
    /// [`FreshOptions::max_entity_events`](crate::FreshOptions::max_entity_events).
    EntityFull = 4,
    /// The module failed to fold it, or the state would be larger than a snapshot could hold.
    Failed = 5,
    /// It became known later after it happened than the view's lateness allows. No snapshot and no training set counts it either.
    Late = 6,
}

impl Refusal {
    /// Every reason, by its number.
    pub const ALL: [Self; 7] = [
        Self::NoKey,
        Self::LongKey,
        Self::MissingValue,
        Self::Future,
        Self::EntityFull,
        Self::Failed,
        Self::Late,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::LongKey => "long_key",
            Self::MissingValue => "missing_value",
            Self::Future => "future",
            Self::EntityFull => "entity_full",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}
