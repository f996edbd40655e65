use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, Result,
    WriteMultipart,
};

/// A file of so many bytes is written by one request, and what is longer in parts of so many.
const PART_BYTES: u64 = 8 << 20;
/// Stores take 10,000 parts.
const MAX_PARTS: u64 = 9_000;
/// The parts that are under way at once.
const CONCURRENT_PARTS: usize = 4;

/// Writes a file as an object.
///
/// One that may not be replaced is looked for by the request itself. A file in parts has no such request, so it is looked for
/// before and once more when all parts are there, just before they become the object.
pub(crate) async fn upload(store: &dyn ObjectStore, path: &Path, file: &mut File, may_replace: bool) -> Result<()> {
    let bytes = file.metadata().map_err(of_file)?.len();
    if bytes <= PART_BYTES {
        let mut whole = Vec::new();
        file.read_to_end(&mut whole).map_err(of_file)?;
        let mode = match may_replace {
            true => PutMode::Overwrite,
            false => PutMode::Create,
        };
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        return store.put_opts(path, Bytes::from(whole).into(), options).await.map(drop);
    }
    check_free(store, path, may_replace).await?;
    let upload = store.put_multipart_opts(path, PutMultipartOptions::default()).await?;
    in_parts(store, path, upload, file, bytes, may_replace).await
}

async fn in_parts(
    store: &dyn ObjectStore,
    path: &Path,
    upload: Box<dyn MultipartUpload>,
    file: &mut File,
    bytes: u64,
    may_replace: bool,
) -> Result<()> {
    let part_bytes = PART_BYTES.max(bytes.div_ceil(MAX_PARTS));
    let mut writer = WriteMultipart::new_with_chunk_size(upload, part_bytes as usize);
    let mut left = bytes;
    while left > 0 {
        let mut part = Vec::with_capacity(left.min(part_bytes) as usize);
        let read = file.take(part_bytes).read_to_end(&mut part).map_err(of_file);
        let sent = match read {
            Ok(0) => Err(of_file(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => writer.wait_for_capacity(CONCURRENT_PARTS).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            return given_up(writer, error).await;
        }
        left = left.saturating_sub(part.len() as u64);
        writer.put(part.into());
    }
    match check_free(store, path, may_replace).await {
        Ok(()) => writer.finish().await.map(drop),
        Err(error) => given_up(writer, error).await,
    }
}

/// The parts that are there cost money until they are removed.
async fn given_up(writer: WriteMultipart, error: Error) -> Result<()> {
    // Why it was given up is what is to be told.
    let _ = writer.abort().await;
    Err(error)
}

async fn check_free(store: &dyn ObjectStore, path: &Path, may_replace: bool) -> Result<()> {
    if may_replace {
        return Ok(());
    }
    match store.head(path).await {
        Ok(_) => Err(Error::AlreadyExists {
            path: path.to_string(),
            source: "it was found".into(),
        }),
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn of_file(source: io::Error) -> Error {
    Error::Generic {
        store: "file",
        source: Box::new(source),
    }
}
