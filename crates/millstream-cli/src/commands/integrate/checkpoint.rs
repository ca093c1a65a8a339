//! A job in a file: written after waves, whole or not at all, and gone on with when it is there.
//!
//! The file begins with a magic and a version; what follows is the job as the mathematics writes it. A file of another job is
//! refused: going on with it would answer another question.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use millstream::codec::{Codec, MessagePack};
use millstream_systems::montecarlo::mathematics::{Job, NUMERICS, Request};

use super::live::Live;
use super::write;

const MAGIC: &[u8] = b"millstream job 1\n";

/// The job of the file, if it is there; made stricter when the request is.
pub(super) fn resume(
    path: &Path,
    request: &Request,
    live: &mut Live,
) -> anyhow::Result<Option<Job>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => {
            read.with_context(|| format!("failed to read the checkpoint `{}`", path.display()))?
        }
    };
    let mut job =
        decode(&bytes).with_context(|| format!("`{}` is no checkpoint", path.display()))?;
    ensure!(
        job.answer().numerics == NUMERICS,
        "`{}` was begun by another version of the numbers ({}, this is {NUMERICS}); begin anew in another file",
        path.display(),
        job.answer().numerics
    );
    if !same(job.request(), request) {
        bail!(
            "`{}` holds another job: {}; name another file, or remove it",
            path.display(),
            job.request().expression
        );
    }
    let answer = job.answer();
    live.note(format!(
        "going on from `{}`: {} waves, {} samples",
        path.display(),
        answer.waves,
        answer.samples
    ));
    job.tighten(request.rel_error, request.abs_error, request.max_samples)?;
    Ok(Some(job))
}

/// Writes the job.
pub(super) fn save(path: &Path, job: &Job) -> anyhow::Result<()> {
    let mut bytes = MAGIC.to_vec();
    let encoded = MessagePack.encode(job, &mut bytes);
    encoded.map(drop).context("failed to encode the job")?;
    write(path, &bytes)
}

fn decode(bytes: &[u8]) -> anyhow::Result<Job> {
    let body = bytes
        .strip_prefix(MAGIC)
        .context("it does not begin as one of this version does")?;
    Ok(MessagePack.decode(Some(body))?)
}

/// Whether two requests ask the same question, however well it is to be answered.
fn same(a: &Request, b: &Request) -> bool {
    let question = |request: &Request| Request {
        name: String::new(),
        rel_error: None,
        abs_error: None,
        max_samples: None,
        deadline: None,
        map: None,
        exact: None,
        source: None,
        ..request.clone()
    };
    question(a) == question(b)
}
