/// The memory of a list of references, for references of another lifetime: a list that is kept from request to request
/// cannot keep what it lists.
///
/// Collecting an emptied list into one of the same layout takes over its memory, which the standard library does and does not
/// promise; a test counts allocations (`tests/steady.rs`).
#[inline]
pub(crate) fn recycle<'b, T: ?Sized + 'static>(mut list: Vec<&T>) -> Vec<&'b T> {
    list.clear();
    list.into_iter().map_while(|_| None).collect()
}
