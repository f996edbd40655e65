//! Gives NaN one bit pattern where a module can see its bits, and nowhere else.
//!
//! WebAssembly leaves the sign and the payload of a NaN that arithmetic gives to the machine. The engine can replace each
//! such NaN by the canonical one as it is computed, which costs two to three instructions for every operation on floats. But
//! most of them feed other arithmetic, which does not care. So each function is read first, and what an operation gives is
//! canonicalised where its bits can reach something that shows them:
//!
//! ```text
//! class of a value    arithmetic:      dirty, made by this operation
//!                     integer to float, constants that are no NaN: safe
//!                     anything else:   exact (loads, parameters, results of calls)
//! class of a local    what is assigned to it: dirty and exact give exact, dirty and safe give dirty
//! an operation shows its operands unless it is arithmetic, a comparison, a conversion to integers, drop, select, abs,
//!                     or an assignment to a dirty local
//! a dirty value that is shown is canonicalised where it was made: behind its operation, or behind the local.get
//! ```
//!
//! What the real code does besides: a local's class is a fixpoint over the whole function, since loops assign after they
//! read; a select of dirty values is dirty itself; operations on vectors of floats are always canonicalised, because
//! everything shows the bits of a vector.
//!
//! Values that were not computed are left alone, as the specification has it: a NaN that is loaded, passed and stored keeps
//! its payload. Where bits are shown they are those that the engine's own canonicalisation gives, which the tests compare.

use std::ops::Range;

use wasmparser::{
    BinaryReaderError, FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, Parser, ValType, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

use crate::section::{push_u32, with_bodies};

/// The module with canonical NaNs. `features` are those that it may use, without relaxed vectors.
///
/// # Errors
/// The module is not valid.
pub(crate) fn canonicalise(module: &[u8], features: WasmFeatures) -> Result<Vec<u8>, String> {
    with_bodies(module, &bodies(module, features)?)
}

/// The bodies of all functions, rewritten.
fn bodies(module: &[u8], features: WasmFeatures) -> Result<Vec<Vec<u8>>, String> {
    let text = |error: BinaryReaderError| error.to_string();
    let mut validator = Validator::new_with_features(features);
    let mut allocations = FuncValidatorAllocations::default();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(text)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(text)? {
            let (function, reused) = Function::read(function, &body, allocations).map_err(text)?;
            allocations = reused;
            bodies.push(function.rewritten(module)?);
        }
    }
    Ok(bodies)
}

/// Which NaNs a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// None but the canonical one.
    Safe,
    /// Any; made by the operation of this index, behind which it can be canonicalised.
    Dirty(usize),
    /// Any, of bits that are to be kept. What is no float is this too.
    Exact,
}

/// The class of a local: the greatest of what is assigned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Safe,
    Dirty,
    Exact,
}

/// A function that was read and found valid.
struct Function<'a> {
    /// How many groups of locals are declared, and their bytes.
    groups: usize,
    declared: Range<usize>,
    /// Of every parameter and local.
    types: Vec<ValType>,
    parameters: usize,
    operations: Vec<Operation<'a>>,
    /// The offset behind the last operation.
    end: usize,
}

struct Operation<'a> {
    operator: Operator<'a>,
    offset: usize,
    takes: usize,
    gives: usize,
    /// Below this height of the stack it takes nothing.
    floor: usize,
    /// The height of the stack afterwards. In code that is never reached it need not be what is taken and given.
    height: usize,
    is_reached: bool,
}

impl<'a> Function<'a> {
    fn read(
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<(Self, FuncValidatorAllocations), BinaryReaderError> {
        let mut validator = function.into_validator(allocations);
        let parameters = validator.len_locals();
        let mut groups = body.get_locals_reader()?;
        let declared = groups.original_position() as usize;
        for _ in 0..groups.get_count() {
            let offset = groups.original_position();
            let (count, value_type) = groups.read()?;
            validator.define_locals(offset, count, value_type)?;
        }
        let declared = declared..groups.original_position() as usize;
        let mut operations = Vec::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let offset = reader.original_position();
            let operator = reader.read()?;
            let (takes, gives) = operator.operator_arity(&validator).unwrap_or((0, 0));
            let frame = validator.get_control_frame(0);
            let (floor, was_reached) = frame.map_or((0, true), |frame| (frame.height, !frame.unreachable));
            validator.op(offset, &operator)?;
            let is_reached = validator.get_control_frame(0).is_none_or(|frame| !frame.unreachable);
            operations.push(Operation {
                operator,
                offset: offset as usize,
                takes: takes as usize,
                gives: gives as usize,
                floor,
                height: validator.operand_stack_height() as usize,
                is_reached: was_reached && is_reached,
            });
        }
        let end = reader.original_position();
        reader.finish()?;
        let types = (0..validator.len_locals()).filter_map(|local| validator.get_local_type(local));
        let function = Self {
            groups: groups.get_count() as usize,
            declared,
            types: types.collect(),
            parameters: parameters as usize,
            operations,
            end: end as usize,
        };
        Ok((function, validator.into_allocations()))
    }

    /// For each operation, whether what it gives is canonicalised.
    fn canonicalised(&self) -> Result<Vec<bool>, String> {
        let mut classes = vec![Class::Safe; self.types.len()];
        classes[..self.parameters].fill(Class::Exact);
        loop {
            let before = classes.clone();
            let mut walk = Walk {
                function: self,
                classes: &mut classes,
                canonicalised: vec![false; self.operations.len()],
                stack: Vec::new(),
            };
            for index in 0..self.operations.len() {
                walk.step(index)?;
            }
            let canonicalised = walk.canonicalised;
            if classes == before {
                return Ok(canonicalised);
            }
        }
    }

    fn rewritten(&self, module: &[u8]) -> Result<Vec<u8>, String> {
        let shapes: Vec<Option<Shape>> = self
            .canonicalised()?
            .into_iter()
            .zip(&self.operations)
            .map(|(is_canonicalised, operation)| is_canonicalised.then(|| self.shape(&operation.operator))?)
            .collect();
        let scratch: Vec<Shape> = Shape::ALL
            .into_iter()
            .filter(|shape| shapes.contains(&Some(*shape)))
            .collect();

        let mut body = Vec::with_capacity(self.end - self.declared.start + 8 * shapes.len());
        push_u32(&mut body, self.groups + scratch.len());
        body.extend_from_slice(&module[self.declared.clone()]);
        for shape in &scratch {
            body.extend_from_slice(&[1, shape.type_byte()]);
        }
        let ends = self.operations.iter().skip(1).map(|next| next.offset).chain([self.end]);
        for ((operation, end), shape) in self.operations.iter().zip(ends).zip(shapes) {
            body.extend_from_slice(&module[operation.offset..end]);
            let local = scratch.iter().position(|scratch| Some(*scratch) == shape);
            if let (Some(shape), Some(local)) = (shape, local) {
                shape.push_canonicalisation(&mut body, self.types.len() + local);
            }
        }
        Ok(body)
    }

    /// The shape of what an operation gives, where it can be dirty.
    fn shape(&self, operator: &Operator<'_>) -> Option<Shape> {
        match operator {
            Operator::LocalGet { local_index } => match self.types.get(*local_index as usize)? {
                ValType::F32 => Some(Shape::F32),
                ValType::F64 => Some(Shape::F64),
                _ => None,
            },
            // Of two dirty values, so of the shape that either has: see `Walk::select`.
            _ => arithmetic(operator),
        }
    }
}

/// A pass over a function with the classes that are known so far.
struct Walk<'f, 'a> {
    function: &'f Function<'a>,
    classes: &'f mut [Class],
    canonicalised: Vec<bool>,
    stack: Vec<Value>,
}

impl Walk<'_, '_> {
    fn step(&mut self, index: usize) -> Result<(), String> {
        let function = self.function;
        let operation = &function.operations[index];
        let available = self.stack.len().saturating_sub(operation.floor);
        let kept = self.stack.len() - operation.takes.min(available);
        let taken: Vec<Value> = self.stack.drain(kept..).collect();
        match &operation.operator {
            Operator::LocalGet { local_index } => {
                let value = match self.classes[*local_index as usize] {
                    Class::Safe => Value::Safe,
                    Class::Dirty => Value::Dirty(index),
                    Class::Exact => Value::Exact,
                };
                self.stack.push(value);
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                // Nothing is taken in code that is never reached.
                let value = taken.last().copied().unwrap_or(Value::Safe);
                self.assign(*local_index as usize, value);
                self.stack.extend((operation.gives > 0).then_some(value));
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let value = self.select(&taken);
                self.stack.push(value);
            }
            operator if arithmetic(operator).is_some() => {
                self.stack.push(Value::Dirty(index));
                if matches!(arithmetic(operator), Some(Shape::F32x4 | Shape::F64x2)) {
                    self.canonicalised[index] = true;
                }
            }
            operator => {
                if !is_indifferent(operator) {
                    taken.iter().for_each(|value| self.show(*value));
                }
                let value = if is_safe(operator) { Value::Safe } else { Value::Exact };
                self.stack.extend(std::iter::repeat_n(value, operation.gives));
            }
        }
        if operation.is_reached && self.stack.len() != operation.height {
            return Err(format!(
                "operation at {} leaves another stack than it should",
                operation.offset
            ));
        }
        self.stack.resize(operation.height, Value::Exact);
        Ok(())
    }

    fn show(&mut self, value: Value) {
        if let Value::Dirty(source) = value {
            self.canonicalised[source] = true;
        }
    }

    fn assign(&mut self, local: usize, value: Value) {
        let class = match value {
            Value::Safe => Class::Safe,
            Value::Dirty(_) => Class::Dirty,
            Value::Exact => Class::Exact,
        };
        self.classes[local] = self.classes[local].max(class);
        if self.classes[local] == Class::Exact {
            self.show(value);
        }
    }

    /// One of the two, which the last decides.
    fn select(&mut self, taken: &[Value]) -> Value {
        let [first, second, _] = *taken else {
            return Value::Exact;
        };
        if first == Value::Safe && second == Value::Safe {
            return Value::Safe;
        }
        self.show(first);
        self.show(second);
        Value::Exact
    }
}

/// What is canonicalised, and where: `f32` and `f64` values, and vectors of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    F32,
    F64,
    F32x4,
    F64x2,
}

const CANONICAL_F32: [u8; 4] = 0x7fc0_0000_u32.to_le_bytes();
const CANONICAL_F64: [u8; 8] = 0x7ff8_0000_0000_0000_u64.to_le_bytes();

impl Shape {
    const ALL: [Self; 4] = [Self::F32, Self::F64, Self::F32x4, Self::F64x2];

    /// The type of a local that holds it.
    fn type_byte(self) -> u8 {
        match self {
            Self::F32 => 0x7d,
            Self::F64 => 0x7c,
            Self::F32x4 | Self::F64x2 => 0x7b,
        }
    }

    /// Replaces the value on the stack by the canonical NaN unless it equals itself. `local` is free.
    fn push_canonicalisation(self, body: &mut Vec<u8>, local: usize) {
        const LOCAL_GET: u8 = 0x20;
        const LOCAL_TEE: u8 = 0x22;
        let (constant, equals, select): (&[u8], &[u8], &[u8]) = match self {
            Self::F32 => (&[0x43], &[0x5b], &[0x1b]),
            Self::F64 => (&[0x44], &[0x61], &[0x1b]),
            Self::F32x4 => (&[0xfd, 0x0c], &[0xfd, 0x41], &[0xfd, 0x52]),
            Self::F64x2 => (&[0xfd, 0x0c], &[0xfd, 0x47], &[0xfd, 0x52]),
        };
        body.push(LOCAL_TEE);
        push_u32(body, local);
        body.extend_from_slice(constant);
        match self {
            Self::F32 => body.extend_from_slice(&CANONICAL_F32),
            Self::F64 => body.extend_from_slice(&CANONICAL_F64),
            Self::F32x4 => (0..4).for_each(|_| body.extend_from_slice(&CANONICAL_F32)),
            Self::F64x2 => (0..2).for_each(|_| body.extend_from_slice(&CANONICAL_F64)),
        }
        for _ in 0..2 {
            body.push(LOCAL_GET);
            push_u32(body, local);
        }
        body.extend_from_slice(equals);
        body.extend_from_slice(select);
    }
}

/// What an arithmetic operation gives: a NaN of any bits. Its operands' NaNs are not seen in it.
fn arithmetic(operator: &Operator<'_>) -> Option<Shape> {
    use Operator as O;
    Some(match operator {
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt => Shape::F32,
        O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max | O::F32DemoteF64 => Shape::F32,
        O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt => Shape::F64,
        O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max | O::F64PromoteF32 => Shape::F64,
        O::F32x4Ceil | O::F32x4Floor | O::F32x4Trunc | O::F32x4Nearest | O::F32x4Sqrt => Shape::F32x4,
        O::F32x4Add | O::F32x4Sub | O::F32x4Mul | O::F32x4Div | O::F32x4Min | O::F32x4Max => Shape::F32x4,
        O::F32x4DemoteF64x2Zero => Shape::F32x4,
        O::F64x2Ceil | O::F64x2Floor | O::F64x2Trunc | O::F64x2Nearest | O::F64x2Sqrt => Shape::F64x2,
        O::F64x2Add | O::F64x2Sub | O::F64x2Mul | O::F64x2Div | O::F64x2Min | O::F64x2Max => Shape::F64x2,
        O::F64x2PromoteLowF32x4 => Shape::F64x2,
        _ => return None,
    })
}

/// Operations that give the same for every NaN, besides arithmetic.
fn is_indifferent(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::Drop
            | O::F32Eq
            | O::F32Ne
            | O::F32Lt
            | O::F32Gt
            | O::F32Le
            | O::F32Ge
            | O::F64Eq
            | O::F64Ne
            | O::F64Lt
            | O::F64Gt
            | O::F64Le
            | O::F64Ge
            | O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U
            | O::I32TruncSatF32S
            | O::I32TruncSatF32U
            | O::I32TruncSatF64S
            | O::I32TruncSatF64U
            | O::I64TruncSatF32S
            | O::I64TruncSatF32U
            | O::I64TruncSatF64S
            | O::I64TruncSatF64U
    )
}

/// Operations that give no NaN.
fn is_safe(operator: &Operator<'_>) -> bool {
    use Operator as O;
    match operator {
        O::F32Const { value } => !f32::from_bits(value.bits()).is_nan(),
        O::F64Const { value } => !f64::from_bits(value.bits()).is_nan(),
        _ => matches!(
            operator,
            O::F32ConvertI32S
                | O::F32ConvertI32U
                | O::F32ConvertI64S
                | O::F32ConvertI64U
                | O::F64ConvertI32S
                | O::F64ConvertI32U
                | O::F64ConvertI64S
                | O::F64ConvertI64U
        ),
    }
}

#[cfg(test)]
mod tests;
