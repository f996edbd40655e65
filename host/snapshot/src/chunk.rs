use std::io;

use memmap2::MmapMut;

/// Memory for words that are appended and not moved, on huge pages where the kernel gives them: what is appended in one order
/// and read in another would else miss in the page table at each read.
#[derive(Debug)]
pub(crate) struct Chunk {
    map: MmapMut,
    /// The words in use.
    len: usize,
}

impl Chunk {
    pub(crate) fn with_capacity(words: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(size_of::<u64>() * words.max(1))?;
        crate::map::advise_huge_pages(&map);
        Ok(Self { map, len: 0 })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity(&self) -> usize {
        self.map.len() / size_of::<u64>()
    }

    /// The words in use.
    pub(crate) fn words(&self) -> &[u64] {
        &bytemuck::cast_slice(&self.map)[..self.len]
    }

    /// Adds words, zeros, of which there must be as many.
    pub(crate) fn extend(&mut self, words: usize) -> &mut [u64] {
        let start = self.len;
        self.len += words;
        &mut bytemuck::cast_slice_mut(&mut self.map)[start..start + words]
    }
}
