use crate::accumulate::Accumulator;
use crate::state::{State, StateError, state_version};
use crate::tiling::Tiling;
use crate::window::WindowMeta;

/// States that an aggregate used to write and still reads: the totals and the windows of that time.
///
/// The conversion of totals must keep the laws: converting what two totals have merged to is merging what they convert to.
/// Every tile that the aggregate needs now must have been there: each of its windows one of no greater length among those of
/// the same hop.
pub trait PreviousState {
    /// What was kept then.
    type Totals: Accumulator;
    /// The windows of then.
    const WINDOWS: &'static [WindowMeta];
}

/// Of a state's bytes, its version, and the tilings of then and of now.
type Decode<A> = fn(&[u8], u32, &Tiling, &Tiling) -> Result<State<A>, StateError>;

/// How to read one version of states as those of totals `A`.
#[derive(Debug)]
pub struct ReadableState<A> {
    windows: &'static [WindowMeta],
    version: fn(&Tiling) -> u32,
    decode: Decode<A>,
}

impl<A: Accumulator> ReadableState<A> {
    /// Those of `P`, for an aggregate with `windows`.
    ///
    /// # Panics
    /// At compile time, where a window would need tiles that `P` does not have, and where the totals [grow](Accumulator::IS_COMPACT)
    /// and those of then did not.
    pub const fn of<P: PreviousState>(windows: &'static [WindowMeta]) -> Self
    where
        A: From<P::Totals>,
    {
        assert!(
            A::IS_COMPACT || !P::Totals::IS_COMPACT,
            "a state of before cannot be read: it has totals from each instant on, and of accumulators that grow, as those of now do, \
             a state has them apart"
        );
        let mut i = 0;
        while i < windows.len() {
            let (mut j, mut is_covered) = (0, false);
            while j < P::WINDOWS.len() {
                let previous = P::WINDOWS[j];
                is_covered |= previous.tile_us() == windows[i].tile_us() && previous.length_us >= windows[i].length_us;
                j += 1;
            }
            assert!(
                is_covered,
                "a state of before lacks the tiles of a window: it has no window of this hop that is as long"
            );
            i += 1;
        }
        Self {
            windows: P::WINDOWS,
            version: state_version::<P::Totals>,
            decode: |bytes, version, from, to| Ok(State::<P::Totals>::decode(bytes, version, from)?.convert(from, to)),
        }
    }

    /// The version that the states are of.
    pub(crate) fn version(&self) -> u32 {
        (self.version)(&Tiling::of(self.windows))
    }

    pub(crate) fn decode(&self, bytes: &[u8], to: &Tiling) -> Result<State<A>, StateError> {
        let from = Tiling::of(self.windows);
        (self.decode)(bytes, (self.version)(&from), &from, to)
    }
}
