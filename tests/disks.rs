//! File systems that a test mounts for itself: one that can be full, and one whose power can be cut.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{python, run, succeed};

/// What is mounted in here is seen only by processes that are started within, and is gone when it is let go.
struct Mounts {
    /// Keeps it there as long as its standard input is open, which the end of this process closes.
    keeper: Child,
}

impl Mounts {
    /// Its own namespaces, in which a script for `sh` has mounted what it is told to.
    fn new(namespaces: &str, script: &str, arguments: &[&str]) -> Option<Self> {
        let script = format!("set -e; {script}\necho mounted; exec cat");
        let mut command = Command::new("unshare");
        command.args([namespaces, "sh", "-c", &script, "sh"]).args(arguments);
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut word = [0; 7];
        match keeper.stdout.as_mut()?.read_exact(&mut word) {
            Ok(()) => Some(Self { keeper }),
            Err(_) => {
                // It has ended by itself.
                let _ = keeper.wait();
                None
            }
        }
    }

    /// A command that sees what is mounted.
    fn within(&self, command: &Command) -> Command {
        let pid = self.keeper.id().to_string();
        let mut all = Command::new("nsenter");
        all.args(["--target", &pid, "--mount"]);
        let own = fs::read_link("/proc/self/ns/user").unwrap();
        if fs::read_link(format!("/proc/{pid}/ns/user")).unwrap() != own {
            all.args(["--user", "--preserve-credentials"]);
        }
        if let Some(dir) = command.get_current_dir() {
            // What is mounted there is not there outside.
            all.arg(format!("--wdns={}", dir.display())).current_dir("/");
        }
        all.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => all.env(name, value),
                None => all.env_remove(name),
            };
        }
        all
    }

    /// An absolute path within, for this process.
    fn seen_from_here(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A small file system in memory.
pub struct SmallDisk {
    mounts: Mounts,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it at `path`.
    ///
    /// # Panics
    ///
    /// If this user may not.
    pub fn mount(path: &Path, mebibytes: u64) -> Self {
        fs::create_dir_all(path).unwrap();
        let (size, place) = (format!("{mebibytes}m"), path.to_str().unwrap());
        let mount = |namespaces| Mounts::new(namespaces, r#"mount -t tmpfs -o size="$1" tmpfs "$2""#, &[&size, place]);
        // The first one needs root; the other one namespaces of users, which some systems forbid.
        let mounts = mount("-m").or_else(|| mount("-Urm")).expect(
            "this test mounts a small file system: it needs `unshare` and `nsenter` of util-linux, and either root with \
             CAP_SYS_ADMIN or a kernel that lets users make namespaces (`sysctl kernel.unprivileged_userns_clone=1`)",
        );
        Self { mounts, path: path.to_owned() }
    }

    /// A command that sees it.
    pub fn within(&self, command: &Command) -> Command {
        self.mounts.within(command)
    }

    /// Where it is, for this process.
    pub fn seen_from_here(&self) -> PathBuf {
        self.mounts.seen_from_here(&self.path)
    }

    fn filler(&self) -> PathBuf {
        self.seen_from_here().join("filler")
    }

    /// Takes all the room that there is.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut piece = vec![0; 1 << 20];
        while !piece.is_empty() {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

/// An ext4 file system on a disk that forgets: what the disk was given and not told to keep is gone when the power is cut.
///
/// The disk is a file on another ext4 file system, which the kernel can be told to stop, as it stands: what was written to the
/// file and not synced is lost then, and the inner file system, and the program on it, see a disk that fails. A sync of the
/// program that comes through is one that the inner file system has passed on to the disk.
pub struct ForgetfulDisk {
    mounts: Mounts,
    dir: PathBuf,
}

/// Mounts both, with what they have.
const MOUNT: &str = r#"
    mount -o loop outer.img outer
    mount -o loop outer/inner.img inner
"#;

impl ForgetfulDisk {
    /// A new one, which is mounted at `inner` in a directory.
    ///
    /// # Panics
    ///
    /// If this user may not.
    pub fn mount(dir: &Path, mebibytes: u64) -> Self {
        // The file is written once, so that what is written to it later needs nothing of the outer file system.
        let make = format!(
            r#"
            cd "$1"
            mkdir outer inner
            truncate -s $(($2 + $2 / 8 + 32))M outer.img
            mkfs.ext4 -q -m 0 outer.img
            mount -o loop outer.img outer
            dd if=/dev/zero of=outer/inner.img bs=1M count="$2" status=none
            mkfs.ext4 -q -m 0 outer/inner.img
            sync outer/inner.img
            umount outer
            {MOUNT}
            "#
        );
        let mounts = Mounts::new("-m", &make, &[dir.to_str().unwrap(), &mebibytes.to_string()]).expect(
            "this test mounts a file system in a file: it needs root with CAP_SYS_ADMIN, loop devices (`losetup -f` names a \
             free one), `mkfs.ext4`, and `unshare` and `nsenter` of util-linux",
        );
        Self { mounts, dir: dir.to_owned() }
    }

    /// A command that sees it.
    pub fn within(&self, command: &Command) -> Command {
        self.mounts.within(command)
    }

    /// Where it is, for those who see it.
    pub fn path(&self) -> PathBuf {
        self.dir.join("inner")
    }

    /// Where it is, for this process.
    pub fn seen_from_here(&self) -> PathBuf {
        self.mounts.seen_from_here(&self.path())
    }

    /// Cuts the power. Of what the disk was given and not told to keep, it has kept a part, drawn by chance: it begins to
    /// write that just before.
    pub fn cut(&self, seed: u64) {
        // FS_IOC_SHUTDOWN of linux/fs.h, with EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written.
        let script = "import fcntl, os, random, struct, sys\n\
            chance = random.Random(sys.argv[1])\n\
            disk = os.open('outer/inner.img', os.O_RDONLY)\n\
            size = os.fstat(disk).st_size\n\
            for _ in range(chance.choice([0, 1, 4, 64])):\n\
            \x20   length = int(size * chance.random() / 4)\n\
            \x20   os.posix_fadvise(disk, int((size - length) * chance.random()), length, os.POSIX_FADV_DONTNEED)\n\
            fcntl.ioctl(os.open('outer', os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        let mut command = Command::new(python());
        command.args(["-c", script, &seed.to_string()]).current_dir(&self.dir);
        succeed(&mut self.within(&command));
    }

    /// Mounts it again, with what it has kept. No process may have it any more.
    pub fn restore(&self) {
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-ec", script]).current_dir(&self.dir);
            self.within(&command)
        };
        // The inner one has something to say about its disk.
        run(&mut sh("umount inner"));
        succeed(&mut sh(&format!("umount outer\n{MOUNT}")));
    }
}
