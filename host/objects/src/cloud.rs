use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig};
use tokio::runtime::{Builder, Runtime};
use unskew_batch::{Object, Objects};
use url::{Position, Url};

use crate::failure::failure;
use crate::http::Connector;
use crate::ranges::read_ranges;
use crate::upload::upload;

/// How often a request is tried again that failed for a reason that may pass, each time after a longer pause, and for how long.
const RETRIES: usize = 8;
const RETRY_FOR: Duration = Duration::from_secs(120);
/// The requests that wait for an answer at a time.
const MAX_BLOCKING_THREADS: usize = 32;

/// Objects that URLs name: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, `abfss://container@account…/key`,
/// `https://host/path`.
///
/// Who asks, and where, is told by variables of the environment: for S3 `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
/// `AWS_REGION` and `AWS_ENDPOINT_URL`, or the role of the machine or the pod; `AWS_SKIP_SIGNATURE=true` for public buckets.
/// For Google `GOOGLE_APPLICATION_CREDENTIALS` or the machine's account, for Azure `AZURE_STORAGE_ACCOUNT_NAME` and a key or an
/// identity. Files of profiles (`~/.aws/config`) are not read. Web servers must answer requests for ranges; they have no
/// directories and take no outputs.
///
/// Costs nothing until a URL is read; then a thread, and one for each request that waits, 32 at most.
pub struct CloudObjects {
    variables: Vec<(String, String)>,
    runtime: OnceLock<io::Result<Runtime>>,
    /// By the part of a URL before its path.
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

/// Where a URL leads.
struct Location {
    store: Arc<dyn ObjectStore>,
    url: Url,
    path: Path,
}

impl CloudObjects {
    /// Told by the environment of the process.
    pub fn from_environment() -> Self {
        let known = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::with_variables(std::env::vars_os().filter_map(known))
    }

    /// Told by these variables.
    pub fn with_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_known = |(name, _): &(String, String)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|p| name.starts_with(p));
        Self {
            variables: variables.into_iter().filter(is_known).collect(),
            runtime: OnceLock::new(),
            stores: Mutex::default(),
        }
    }

    fn locate(&self, text: &str) -> io::Result<Location> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let url = Url::parse(text).map_err(|error| invalid(format!("it is no URL: {error}")))?;
        if url.query().is_some() {
            return Err(invalid(
                "a URL with a query, as a signed one has, is not read".to_owned(),
            ));
        }
        let (mut scheme, mut path) = ObjectStoreScheme::parse(&url).map_err(|error| invalid(error.to_string()))?;
        if matches!(url.scheme(), "http" | "https") {
            // Also of hosts of clouds: what is public there is read like anything else on the web.
            scheme = ObjectStoreScheme::Http;
            path = Path::from_url_path(url.path()).map_err(|error| invalid(error.to_string()))?;
        }
        let root = &url[..Position::BeforePath];
        let mut stores = self.stores.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let store = match stores.get(root) {
            Some(store) => Arc::clone(store),
            None => {
                let store = open(&scheme, root, &self.variables).map_err(failure)?;
                stores.insert(root.to_owned(), Arc::clone(&store));
                store
            }
        };
        drop(stores);
        Ok(Location { store, url, path })
    }

    /// Runs what asks a store.
    fn run<T>(&self, asking: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        let runtime = self.runtime.get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .thread_name("unskew-objects")
                .enable_time()
                .build()
        });
        match runtime {
            Ok(runtime) => runtime.block_on(asking).map_err(failure),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

impl fmt::Debug for CloudObjects {
    /// Without the variables: they have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudObjects").finish_non_exhaustive()
    }
}

impl Objects for CloudObjects {
    fn find(&self, url: &str) -> io::Result<Object> {
        let location = self.locate(url)?;
        let found = self.run(location.store.head(&location.path))?;
        Ok(object(url.to_owned(), &found))
    }

    fn list(&self, url: &str) -> io::Result<Vec<(String, Object)>> {
        let location = self.locate(url)?;
        let listed: Vec<ObjectMeta> = self.run(location.store.list(Some(&location.path)).try_collect())?;
        let below = |found: &ObjectMeta| {
            let key = found.location.as_ref();
            let name = match location.path.as_ref() {
                "" => key,
                directory => key.strip_prefix(directory)?.strip_prefix('/')?,
            };
            let mut url = location.url.clone();
            // A key is no part of a URL yet: in it, `%` is a letter like others.
            url.set_path(&key.replace('%', "%25"));
            Some((name.to_owned(), object(url.into(), found)))
        };
        Ok(listed.iter().filter_map(below).collect())
    }

    fn read(&self, object: &Object, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        let location = self.locate(&object.url)?;
        self.run(read_ranges(
            &*location.store,
            &location.path,
            object.tag.as_deref(),
            ranges,
        ))
    }

    fn write(&self, url: &str, file: &mut File, may_replace: bool) -> io::Result<()> {
        let location = self.locate(url)?;
        self.run(upload(&*location.store, &location.path, file, may_replace))
    }

    fn remove(&self, url: &str) -> io::Result<()> {
        let location = self.locate(url)?;
        match self.run(location.store.delete(&location.path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

fn object(url: String, found: &ObjectMeta) -> Object {
    Object {
        url,
        bytes: found.size,
        // A weak tag may stay where bytes change.
        tag: found.e_tag.clone().filter(|tag| !tag.starts_with("W/")),
    }
}

fn open(
    scheme: &ObjectStoreScheme,
    root: &str,
    variables: &[(String, String)],
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_FOR,
        ..RetryConfig::default()
    };
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let mut builder = configured(variables, AmazonS3Builder::with_config).with_url(root);
            // Whoever names a server without encryption means it.
            let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
            if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
                builder = builder.with_allow_http(true);
            }
            Arc::new(builder.with_http_connector(Connector).with_retry(retry).build()?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = configured(variables, GoogleCloudStorageBuilder::with_config).with_url(root);
            Arc::new(builder.with_http_connector(Connector).with_retry(retry).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = configured(variables, MicrosoftAzureBuilder::with_config).with_url(root);
            Arc::new(builder.with_http_connector(Connector).with_retry(retry).build()?)
        }
        ObjectStoreScheme::Http => {
            let options = ClientOptions::new().with_allow_http(root.starts_with("http://"));
            let builder = HttpBuilder::new().with_url(root).with_client_options(options);
            Arc::new(builder.with_http_connector(Connector).with_retry(retry).build()?)
        }
        _ => {
            return Err(object_store::Error::NotSupported {
                source: format!("{root} is no storage that is known: s3, gs, az, abfss, http and https are").into(),
            });
        }
    })
}

/// A builder that was told all variables whose names are settings of it.
fn configured<B: Default, K: FromStr>(variables: &[(String, String)], with: impl Fn(B, K, String) -> B) -> B {
    variables.iter().fold(B::default(), |builder, (name, value)| {
        match name.to_ascii_lowercase().parse() {
            Ok(key) => with(builder, key, value.clone()),
            Err(_) => builder,
        }
    })
}
