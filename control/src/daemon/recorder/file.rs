//! Files that grow by whole pieces: what does not fit is not there by half.
//!
//! A file that is large enough is put aside, and so many are kept. One that somebody else put aside
//! or deleted is made anew within a second, so that programs which rotate logs need no signal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::LogFile;

/// How often it is looked whether the file still has its name.
const LOOK: Duration = Duration::from_secs(1);

/// A file to which whole pieces are added.
pub(in crate::daemon) struct LineFile {
    file: File,
    bytes: u64,
}

impl LineFile {
    /// Opens a file at its end; makes it if there is none, for its owner and group to read.
    pub(in crate::daemon) fn open(path: &Path) -> io::Result<LineFile> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LineFile { file, bytes })
    }

    /// Adds all of it or, if there is no room, nothing.
    pub(in crate::daemon) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(piece);
        match written {
            Ok(()) => self.bytes += piece.len() as u64,
            // A part of it may be there. If even that cannot be undone, the next line tells.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }

    /// Waits until it is on the disk.
    pub(in crate::daemon) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether this is the file of that name.
    pub(in crate::daemon) fn is_at(&self, path: &Path) -> bool {
        let same = |own: fs::Metadata, named: fs::Metadata| {
            (own.dev(), own.ino()) == (named.dev(), named.ino())
        };
        let both = self.file.metadata().and_then(|own| Ok((own, fs::metadata(path)?)));
        both.is_ok_and(|(own, named)| same(own, named))
    }
}

/// See the module's documentation.
pub(super) struct LogWriter {
    path: PathBuf,
    bytes_max: u64,
    files_max: u8,
    file: Option<LineFile>,
    looked: Option<Instant>,
}

impl LogWriter {
    pub(super) fn new(file: &LogFile) -> LogWriter {
        let LogFile { path, bytes_max, files_max } = file.clone();
        LogWriter { path, bytes_max, files_max, file: None, looked: None }
    }

    /// Opens the file, if it is not.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.current().map(|_| ())
    }

    fn current(&mut self) -> io::Result<&mut LineFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => LineFile::open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    /// Lets go of a file that has lost its name.
    pub(super) fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        self.looked = Some(now);
        if self.file.as_ref().is_some_and(|file| !file.is_at(&self.path)) {
            self.file = None;
        }
    }

    /// Puts the file aside if it has no room for so many more bytes; whether what is written next
    /// is the first of a file.
    pub(super) fn make_room(&mut self, bytes: usize) -> io::Result<bool> {
        let bytes_max = self.bytes_max;
        let present = self.current()?.bytes;
        if present > 0 && present + bytes as u64 > bytes_max {
            self.put_aside()?;
        }
        Ok(self.current()?.bytes == 0)
    }

    /// Adds a piece, whole or not at all.
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.make_room(piece.len())?;
        self.current()?.append(piece)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.file = None;
        let numbered = |number: u8| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        if self.files_max == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.files_max).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &Path, files_max: u8) -> LogWriter {
        let file = LogFile { path: folder.join("log"), bytes_max: 10, files_max };
        LogWriter::new(&file)
    }

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let mut texts: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn files_are_put_aside_whole_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), 2);
        assert!(log.make_room(4).unwrap(), "a file begins");
        for line in ["one\n", "two\n", "three\n", "four\n", "a line of more than ten\n", "end\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert!(!log.make_room(4).unwrap());
        let own = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected = [
            own("log", "end\n"),
            own("log.1", "a line of more than ten\n"),
            own("log.2", "three\nfour\n"),
        ];
        // `three` and `four` have eleven bytes together.
        assert_eq!(texts(folder.path())[..2], expected[..2]);
        assert_eq!(texts(folder.path())[2].1, "four\n");
        let mut alone = writer(folder.path(), 0);
        ["1234567\n", "abc\n"].iter().for_each(|line| alone.write(line.as_bytes()).unwrap());
        assert_eq!(texts(folder.path())[0], own("log", "abc\n"));
    }

    #[test]
    fn a_file_that_somebody_took_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, start) = (writer(folder.path(), 1), Instant::now());
        log.look(start);
        log.write(b"one\n").unwrap();
        fs::rename(folder.path().join("log"), folder.path().join("elsewhere")).unwrap();
        log.look(start + Duration::from_millis(500));
        log.write(b"two\n").unwrap();
        log.look(start + Duration::from_secs(2));
        log.write(b"three\n").unwrap();
        let texts = texts(folder.path());
        assert_eq!(texts[0].1, "one\ntwo\n");
        assert_eq!(texts[1], ("log".to_owned(), "three\n".to_owned()));
    }

    /// The kernel's own full disk.
    #[test]
    fn a_full_disk_is_an_error_each_time_and_no_panic() {
        let mut full = LineFile::open(Path::new("/dev/full")).unwrap();
        for _ in 0..2 {
            assert_eq!(full.append(b"line\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }
}
