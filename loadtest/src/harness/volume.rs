//! A file system of a size of its own, for tests of disks that fill up or fail: ext4 in a file on a loop device. That
//! takes root; elsewhere the test says `NOT RUN` and passes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::java_peer::not_run;

/// A mounted file system, which vanishes with this value.
pub struct Volume {
    dir: TempDir,
    /// The image is on a file system in memory, which can be filled: then its writes fail.
    on_memory: bool,
}

impl Volume {
    /// A file system of `bytes`. `None`: it cannot be mounted here, which was printed.
    pub fn new(test: &str, bytes: u64) -> Option<Volume> {
        Volume::mounted(test, bytes, None)
    }

    /// The same on a device that has only `device_bytes` for what is really written.
    pub fn on_small_device(test: &str, bytes: u64, device_bytes: u64) -> Option<Volume> {
        Volume::mounted(test, bytes, Some(device_bytes))
    }

    fn mounted(test: &str, bytes: u64, device_bytes: Option<u64>) -> Option<Volume> {
        let dir = tempfile::Builder::new().prefix("volume-").tempdir().expect("temporary files");
        let volume = Volume { dir, on_memory: device_bytes.is_some() };
        let mounted = volume.make(bytes, device_bytes);
        if let Err(why) = mounted {
            not_run(&format!("{test}: no file system of its own: {why}"));
            return None;
        }
        Some(volume)
    }

    fn make(&self, bytes: u64, device_bytes: Option<u64>) -> Result<(), String> {
        let (device, mount) = (self.device(), self.path());
        fs::create_dir_all(&device).map_err(|error| error.to_string())?;
        fs::create_dir_all(&mount).map_err(|error| error.to_string())?;
        if let Some(bytes) = device_bytes {
            let size = format!("size={bytes}");
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&device)])?;
        }
        let image = device.join("image");
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        // Without reserved blocks, and with its tables written at once: what is free is ours.
        let options = ["-q", "-m", "0", "-E", "lazy_itable_init=0,nodiscard", text(&image)];
        run("mkfs.ext4", &options)?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", text(&self.device().join("image")), text(&self.path())])
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn device(&self) -> PathBuf {
        self.dir.path().join("device")
    }

    /// A file that takes up `bytes` of it.
    pub fn add_ballast(&self, bytes: u64) {
        write_zeros(&self.path().join("ballast"), bytes);
    }

    /// Removes that file.
    pub fn remove_ballast(&self) {
        fs::remove_file(self.path().join("ballast")).expect("the ballast is there");
    }

    /// Fills the small device below: what was not written before cannot be written from now on.
    pub fn fill_device(&self) {
        assert!(self.on_memory);
        write_zeros(&self.device().join("ballast"), u64::MAX);
    }

    /// Makes the device well again, as an exchanged cable would: unmounts, makes room, mounts.
    pub fn repair_device(&self) {
        run("umount", &[text(&self.path())]).unwrap_or_else(|why| panic!("{why}"));
        fs::remove_file(self.device().join("ballast")).expect("the ballast is there");
        self.mount().unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a process that a failed test has left must not keep it mounted for ever.
        let _ = run("umount", &["-l", text(&self.path())]);
        if self.on_memory {
            let _ = run("umount", &["-l", text(&self.device())]);
        }
    }
}

/// Up to `bytes` of zeros, or as many as there is room for.
fn write_zeros(path: &Path, bytes: u64) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("an entry of a directory");
    let zeros = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let piece = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match file.write(&zeros[..piece]) {
            Ok(0) | Err(_) => break,
            Ok(written) => left -= written as u64,
        }
    }
    let _ = file.sync_all();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
