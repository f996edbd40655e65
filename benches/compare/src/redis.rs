use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use unskew_snapshot_benches::entity_id;

use crate::peer::{Peer, Result, add_values, first_value, stored_bytes};

const START_TRIES: u32 = 200;
const START_PAUSE: Duration = Duration::from_millis(50);
/// Keys of one command while loading.
const LOADED_ROWS: usize = 1_000;

/// A Redis server of our own, and one connection. The client is the least that speaks the protocol, so that the server and the
/// socket are what is measured.
pub struct Redis {
    connection: RefCell<Connection>,
    _server: Server,
}

impl Peer for Redis {
    const NAME: &'static str = "Redis";
    // A lookup takes as long as a hundred of them in one command.
    const SINGLES_ONE_IN: usize = 10;
    type Key = [u8; 8];

    fn load(row_count: u64, folder: &Path) -> Result<Self> {
        let socket = folder.join("redis.sock");
        let mut server = Server::start(folder, &socket)?;
        let mut connection = Connection::new(server.connect(&socket)?);
        let rows: Vec<u64> = (0..row_count).collect();
        for rows in rows.chunks(LOADED_ROWS) {
            connection.begin(1 + 2 * rows.len(), b"MSET");
            for row in rows {
                connection.argument(&entity_id(*row).to_le_bytes());
                connection.argument(&stored_bytes(*row));
            }
            connection.send()?;
            connection.line()?;
        }
        Ok(Self {
            connection: RefCell::new(connection),
            _server: server,
        })
    }

    fn keys(rows: &[u64]) -> Vec<Self::Key> {
        rows.iter().map(|row| entity_id(*row).to_le_bytes()).collect()
    }

    fn get(&self, key: &Self::Key) -> Result<Option<u64>> {
        let connection = &mut *self.connection.borrow_mut();
        connection.begin(2, b"GET");
        connection.argument(key);
        connection.send()?;
        Ok(connection.value()?.map(first_value))
    }

    fn get_many(&self, keys: &[Self::Key]) -> Result<(usize, u64)> {
        let connection = &mut *self.connection.borrow_mut();
        connection.begin(1 + keys.len(), b"MGET");
        keys.iter().for_each(|key| connection.argument(key));
        connection.send()?;
        connection.line()?;
        let (mut count, mut sum) = (0, 0);
        for _ in keys {
            if let Some(stored) = connection.value()? {
                (count, sum) = (count + 1, add_values(sum, stored));
            }
        }
        Ok((count, sum))
    }

    /// All that the server has allocated.
    fn bytes(&self) -> Result<u64> {
        let connection = &mut *self.connection.borrow_mut();
        connection.begin(2, b"INFO");
        connection.argument(b"memory");
        connection.send()?;
        let text = String::from_utf8_lossy(connection.value()?.unwrap_or_default());
        let used = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.ok_or("the server does not tell what memory it uses")?.parse()?)
    }
}

/// A server without TCP and without files, which ends with its owner.
struct Server(Child);

impl Server {
    fn start(folder: &Path, socket: &Path) -> Result<Self> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--disable-thp", "no", "--loglevel", "warning"]);
        command.arg("--unixsocket").arg(socket).arg("--dir").arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        match command.spawn() {
            Ok(child) => Ok(Self(child)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err("there is no redis-server: install it (Debian: redis-server) or use --without redis".into())
            }
            Err(error) => Err(format!("cannot start redis-server: {error}").into()),
        }
    }

    fn connect(&mut self, socket: &Path) -> Result<UnixStream> {
        for _ in 0..START_TRIES {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("redis-server ended at once, with {status}").into());
            }
            if let Ok(stream) = UnixStream::connect(socket) {
                return Ok(stream);
            }
            thread::sleep(START_PAUSE);
        }
        let seconds = (START_TRIES * START_PAUSE).as_secs();
        Err(format!("redis-server did not open {} in {seconds} s", socket.display()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // That it has ended already is no failure here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Connection {
    stream: BufReader<UnixStream>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            request: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Begins a command with so many arguments, its name among them.
    fn begin(&mut self, count: usize, name: &[u8]) {
        self.request.clear();
        self.head(b'*', count);
        self.argument(name);
    }

    fn argument(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.request.extend_from_slice(bytes);
        self.request.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, kind: u8, count: usize) {
        self.request.push(kind);
        self.request.extend_from_slice(count.to_string().as_bytes());
        self.request.extend_from_slice(b"\r\n");
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.stream.get_mut().write_all(&self.request)?)
    }

    /// A line of a reply, without its end; a failure of the command is one here.
    fn line(&mut self) -> Result<&[u8]> {
        self.reply.clear();
        self.stream.read_until(b'\n', &mut self.reply)?;
        match self.reply.strip_suffix(b"\r\n") {
            Some([b'-', error @ ..]) => Err(String::from_utf8_lossy(error).into()),
            Some(line) => Ok(line),
            None => Err("the server closed the connection".into()),
        }
    }

    /// A value, or that there is none.
    fn value(&mut self) -> Result<Option<&[u8]>> {
        let Some((b'$', count)) = self.line()?.split_first() else {
            return Err("the server gave no value".into());
        };
        if count == b"-1" {
            return Ok(None);
        }
        let count: usize = std::str::from_utf8(count)?.parse()?;
        self.reply.resize(count + 2, 0);
        self.stream.read_exact(&mut self.reply)?;
        Ok(Some(&self.reply[..count]))
    }
}
