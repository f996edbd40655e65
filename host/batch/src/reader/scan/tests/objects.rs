//! Scans of objects: which bytes of them are read.

use super::*;
use crate::storage::tests::Bucket;

/// Two files of a directory, and what is beside them.
fn bucket() -> Arc<Bucket> {
    let bucket = Bucket::default();
    let file = |first: i64, rows: i64| {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), first, rows, 2_000);
        fs::read(file.path()).unwrap()
    };
    bucket.put("s3://lake/ids/day=2/a.parquet", file(9_000, 3));
    bucket.put("s3://lake/ids/day=1/a.parquet", file(0, 9_000));
    bucket.put("s3://lake/ids/_temporary/day=1/a.parquet", "");
    bucket.put("s3://lake/ids/day=1/_SUCCESS", "");
    bucket.put("s3://lake/ids.csv", "id\n4\n5\n");
    bucket.put("s3://lake/ids-2/a.parquet", "");
    Arc::new(bucket)
}

fn open(bucket: &Arc<Bucket>, url: &str, filter: &str) -> Result<Scan, ReadError> {
    let columns = [wanted("id", ColumnType::I64, true)];
    let request = Request {
        columns: &columns,
        carry: None,
    };
    let filter = match filter {
        "" => Filter::default(),
        filter => filter.parse().unwrap(),
    };
    Scan::filtered(&bucket.storage(), Path::new(url), &request, &filter)
}

#[test]
fn a_directory_of_objects_is_read_in_the_order_of_its_names() {
    let bucket = bucket();
    let scan = open(&bucket, "s3://lake/ids", "").unwrap();
    assert!(ids(&scan, &scan.morsels(700, u64::MAX)).into_iter().eq(0..9_003));
    let stamps: Vec<String> = scan
        .stamps()
        .iter()
        .map(|stamp| stamp.path.display().to_string())
        .collect();
    assert_eq!(
        stamps,
        ["s3://lake/ids/day=1/a.parquet", "s3://lake/ids/day=2/a.parquet"]
    );
    assert_eq!(scan.stamps()[0].tag.as_deref(), Some("1"));

    let scan = open(&bucket, "s3://lake/ids/", "day = 2").unwrap();
    assert_eq!(scan.row_count(), 3);
    let files = scan.digest_files(&AtomicBool::new(false)).unwrap();
    let bytes = bucket.get("s3://lake/ids/day=2/a.parquet").unwrap();
    assert_eq!((files.len(), files[0].digest), (1, Digest::of(&bytes)));

    let text = open(&bucket, "s3://lake/ids.csv", "").unwrap();
    assert_eq!(text.row_count(), 2);
    assert_eq!(text.stamps()[0].tag.as_deref(), Some("1"));
}

#[test]
fn only_the_footer_and_the_wanted_columns_of_objects_are_read_and_once() {
    let bucket = bucket();
    let url = "s3://lake/ids/day=1/a.parquet";
    let all = bucket.get(url).unwrap().len() as u64;
    let scan = open(&bucket, url, "").unwrap();
    let (calls, footer) = bucket.take_read();
    assert_eq!((calls, footer), (1, all.min(1 << 16)));

    // Five row groups, in pieces: of each the ids alone, at once.
    let morsels = scan.morsels(300, u64::MAX);
    assert!(morsels.len() > 30);
    ids(&scan, &morsels);
    let (calls, bytes) = bucket.take_read();
    assert_eq!(calls, 5);
    assert!(bytes < all / 2, "{bytes} of {all}");
    // They are held still.
    ids(&scan, &morsels);
    assert_eq!(bucket.take_read(), (0, 0));
}

#[test]
fn an_object_that_changes_is_an_error() {
    let bucket = bucket();
    let url = "s3://lake/ids/day=1/a.parquet";
    let scan = open(&bucket, url, "").unwrap();
    bucket.put(url, bucket.get(url).unwrap());
    let errors = [
        scan.read(&scan.morsels(300, u64::MAX)[0], &[0], false).err(),
        scan.digest_files(&AtomicBool::new(false)).err(),
    ];
    for error in errors {
        match error {
            Some(ReadError::Open { path, source }) => {
                assert_eq!(path, Path::new(url));
                assert_eq!(source.to_string(), "it changed while it was read");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_not_there_is_said() {
    let bucket = bucket();
    let error = |url: &str| open(&bucket, url, "").err().unwrap().to_string();
    assert_eq!(error("s3://lake/absent.csv"), "cannot read s3://lake/absent.csv");
    assert_eq!(
        error("s3://lake/absent.parquet"),
        "cannot read s3://lake/absent.parquet"
    );
    assert_eq!(
        error("s3://lake/absent"),
        "s3://lake/absent: the directory has no .parquet files"
    );
    assert!(error("s3://lake/ids-2").contains("cannot be read as Parquet"));
}
