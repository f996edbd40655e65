use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use unskew_frame::{ColumnType, Value};
use unskew_snapshot::EventTime;

use crate::catalog::Field;
use crate::request::{Request, RequestError, Service};

/// The fields of a request or of a candidate as a struct: derive it. A request of the struct's type is checked against the
/// service once, and filled without looking a name up or checking a type.
///
/// ```
/// use unskew::Fields;
///
/// #[derive(Fields)]
/// struct Bid<'a> {
///     segment: Option<&'a str>,
///     #[field = "site.page"]
///     page: &'a str,
///     floor: f64,
/// }
/// assert_eq!(Bid::FIELDS[1].name, "site.page");
/// assert!(Bid::FIELDS[0].nullable);
/// ```
pub trait Fields {
    /// The struct, whatever it borrows.
    type Owner: 'static;
    /// The fields, in order.
    const FIELDS: &'static [FieldType];

    /// Gives the values to `give`, in order.
    fn each(&self, give: impl FnMut(Value<'_>));
}

/// No fields: the candidates of a service without any.
impl Fields for () {
    type Owner = ();
    const FIELDS: &'static [FieldType] = &[];

    fn each(&self, _: impl FnMut(Value<'_>)) {}
}

/// A field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldType {
    /// As the service names it.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it may be missing.
    pub nullable: bool,
}

impl FieldType {
    /// A field of a Rust type.
    pub const fn of<T: FieldValue>(name: &'static str) -> Self {
        Self {
            name,
            column_type: T::TYPE,
            nullable: T::NULLABLE,
        }
    }
}

/// A Rust type that a field of a request may have: f64, f32, i64, bool, [`EventTime`], strings, bytes, arrays of f32 and
/// options of these.
pub trait FieldValue {
    /// The type of the column.
    const TYPE: ColumnType;
    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// The value.
    fn value(&self) -> Value<'_>;
}

macro_rules! field_values {
    ($($type:ty, $column:ident, $self:ident => $value:expr;)*) => {
        $(impl FieldValue for $type {
            const TYPE: ColumnType = ColumnType::$column;

            #[inline]
            fn value(&$self) -> Value<'_> {
                Value::$column($value)
            }
        })*
    };
}

field_values! {
    f64, F64, self => *self;
    f32, F32, self => *self;
    i64, I64, self => *self;
    bool, Bool, self => *self;
    EventTime, Timestamp, self => self.0;
    &str, String, self => self;
    String, String, self => self;
    &[u8], Bytes, self => self;
    Vec<u8>, Bytes, self => self;
}

impl<const N: usize> FieldValue for [f32; N] {
    const TYPE: ColumnType = {
        assert!(N <= u32::MAX as usize, "a vector is shorter");
        ColumnType::Vector(N as u32)
    };

    #[inline]
    fn value(&self) -> Value<'_> {
        Value::Vector(self)
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    #[inline]
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::value)
    }
}

/// A request that is filled from structs: `R` has its fields, `C` those of each candidate. Made by
/// [`Service::request_of`], and evaluated like the [`Request`] that it is.
///
/// Keep it and [`reset`](Self::reset) it: it keeps its memory. It takes structs of any lifetime.
pub struct RequestOf<R, C = ()> {
    request: Request,
    /// Per field of the struct, its column in the request.
    request_columns: Vec<usize>,
    candidate_columns: Vec<usize>,
    /// The columns of candidates that the struct does not have.
    absent: Vec<usize>,
    of: PhantomData<fn(R, C)>,
}

impl Service {
    /// An empty request at `prediction_time`, to be filled from an `R` and from a `C` for each candidate.
    ///
    /// # Errors
    /// A field of a struct is none of the service or of another type, or may be missing where the service's may not; or the
    /// service needs one that the struct lacks.
    pub fn request_of<R: Fields, C: Fields>(
        &self,
        prediction_time: EventTime,
    ) -> Result<RequestOf<R::Owner, C::Owner>, RequestError> {
        let plan = self.plan();
        let refuse = |(field, reason): (String, String)| RequestError::new(&plan.service, &field, &reason);
        let first = plan.request.len();
        let candidate_columns = columns("candidate", &plan.candidate, C::FIELDS, first).map_err(refuse)?;
        Ok(RequestOf {
            request: self.request(prediction_time),
            request_columns: columns("request", &plan.request, R::FIELDS, 0).map_err(refuse)?,
            absent: (first..first + plan.candidate.len())
                .filter(|column| !candidate_columns.contains(column))
                .collect(),
            candidate_columns,
            of: PhantomData,
        })
    }
}

impl<R: 'static, C: 'static> RequestOf<R, C> {
    /// Drops the fields and the candidates, keeps the memory.
    pub fn reset(&mut self, prediction_time: EventTime) {
        self.request.reset(prediction_time);
    }

    /// Sets the fields that the request has once, in place of those set before.
    #[inline]
    pub fn set(&mut self, fields: &impl Fields<Owner = R>) {
        let mut columns = self.request_columns.iter();
        let request = &mut self.request;
        fields.each(|value| {
            if let Some(column) = columns.next() {
                request.replace(*column, value);
            }
        });
    }

    /// Adds a candidate.
    #[inline]
    pub fn push(&mut self, candidate: &impl Fields<Owner = C>) {
        let mut columns = self.candidate_columns.iter();
        let request = &mut self.request;
        candidate.each(|value| {
            if let Some(column) = columns.next() {
                request.append(*column, value);
            }
        });
        for column in &self.absent {
            request.append(*column, Value::Null);
        }
        request.end_candidate();
    }
}

impl<R, C> Deref for RequestOf<R, C> {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

// Derived, these would ask the structs for the same.
impl<R, C> Clone for RequestOf<R, C> {
    fn clone(&self) -> Self {
        Self {
            request: self.request.clone(),
            request_columns: self.request_columns.clone(),
            candidate_columns: self.candidate_columns.clone(),
            absent: self.absent.clone(),
            of: PhantomData,
        }
    }
}

impl<R, C> fmt::Debug for RequestOf<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestOf")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The columns of the fields of a struct, the first of which is `first`; or the field at fault and why.
fn columns(kind: &str, declared: &[Field], fields: &[FieldType], first: usize) -> Result<Vec<usize>, (String, String)> {
    let fail = |field: &str, reason: String| Err((field.to_owned(), reason));
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(index) = declared.iter().position(|declared| declared.name == field.name) else {
            let names: Vec<&str> = declared.iter().map(|declared| declared.name.as_str()).collect();
            let reason = format!("the service has no such {kind} field; it has: {}", names.join(", "));
            return fail(field.name, reason);
        };
        let Field {
            column_type, nullable, ..
        } = declared[index];
        if column_type != field.column_type {
            return fail(
                field.name,
                format!("it is {column_type}, in the struct {}", field.column_type),
            );
        }
        if field.nullable && !nullable {
            return fail(
                field.name,
                "it may not be missing, and in the struct it is an Option".to_owned(),
            );
        }
        if columns.contains(&(first + index)) {
            return fail(field.name, "the struct has it twice".to_owned());
        }
        columns.push(first + index);
    }
    let lacking = declared
        .iter()
        .enumerate()
        .find(|(index, declared)| !declared.nullable && !columns.contains(&(first + index)));
    match lacking {
        Some((_, declared)) => fail(
            &declared.name,
            "it may not be missing, and the struct lacks it".to_owned(),
        ),
        None => Ok(columns),
    }
}

#[cfg(test)]
mod tests;
