//! One seed: a long life is recorded, then the power goes at every sync and at random moments in between, and each time
//! a store boots on what that leaves. Some of these boots lose the power, too.

use super::{
    Mutation, Tally, Violation,
    life::{Counts, History, Past, Scene},
    site::Site,
    tape::Moment,
    work::settings,
};
use fastrand::Rng;
use runtime::DirectDisk;
use std::{path::PathBuf, sync::atomic::Ordering::Relaxed};

/// Power cuts in a row, the next one while the store boots and works on what the last one left.
const CUTS_IN_A_ROW_MAX: usize = 4;

/// What a seed is played with.
pub(super) struct Play {
    pub(super) seed: u64,
    /// Only the cut at this moment.
    pub(super) cut: Option<usize>,
    /// Most cuts, spread over the life.
    pub(super) cuts_max: usize,
    pub(super) mutation: Option<Mutation>,
    pub(super) dir: PathBuf,
}

/// Plays a seed until something does not hold.
pub(super) async fn play(disk: DirectDisk, play: &Play, tally: &Tally) -> Result<(), Violation> {
    let seed = play.seed;
    let mut rng = Rng::with_seed(seed);
    let settings = settings(seed, &play.dir.join("log"), &mut rng);
    let mut scene = Scene {
        site: Site::new(disk),
        settings,
        mutation: play.mutation,
        counts: Counts::default(),
    };
    let acts = rng.usize(50..160);
    let history = scene.live(Past::default(), rng.fork(), acts).await;
    let history = history.map_err(|what| Violation { seed, cut: None, what })?;
    tally.trace.fetch_xor(history.trace().rotate_left((seed % 64) as u32), Relaxed);
    tally.files.fetch_add(history.files() as u64, Relaxed);
    tally.moments.fetch_add(history.moments().len() as u64, Relaxed);
    tally.seeds.fetch_add(1, Relaxed);
    let mut medium = history.medium();
    for cut in cuts(&history, play, &mut rng) {
        medium.advance(history.moments(), cut);
        let mut rng = Rng::with_seed(seed ^ (cut as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let past = history.cut(cut, &medium, &mut rng);
        let held = hold(&mut scene, past, rng, tally).await;
        let counts = std::mem::take(&mut scene.counts);
        tally.messages.fetch_add(counts.messages, Relaxed);
        tally.shortened.fetch_add(counts.shortened, Relaxed);
        tally.lucky.fetch_add(counts.lucky, Relaxed);
        held.map_err(|what| Violation { seed, cut: Some(cut), what })?;
        if tally.is_enough() && play.cut.is_none() {
            break;
        }
    }
    Ok(())
}

/// Moments to cut at: just before and just after each sync ended, and some in between.
fn cuts(history: &History, play: &Play, rng: &mut Rng) -> Vec<usize> {
    let moments = history.moments();
    if let Some(cut) = play.cut {
        return vec![cut.min(moments.len())];
    }
    let is_sync = |moment: &Moment| match moment {
        Moment::Begun(_) => false,
        Moment::Ended { begun, .. } => {
            matches!(&moments[*begun], Moment::Begun(call) if call.is_sync())
        }
    };
    let ends = moments.iter().enumerate().filter(|(_, moment)| is_sync(moment));
    let mut cuts: Vec<usize> = ends.flat_map(|(index, _)| [index, index + 1]).collect();
    let between = cuts.len() / 2;
    cuts.extend((0..between).map(|_| rng.usize(0..=moments.len())));
    cuts.sort_unstable();
    cuts.dedup();
    if cuts.len() > play.cuts_max {
        rng.shuffle(&mut cuts);
        cuts.truncate(play.cuts_max);
        cuts.sort_unstable();
    }
    cuts
}

/// Boots on what a power cut left, and sometimes cuts the power again.
async fn hold(
    scene: &mut Scene<DirectDisk>,
    mut past: Past,
    mut rng: Rng,
    tally: &Tally,
) -> Result<(), String> {
    for nth in 1..=CUTS_IN_A_ROW_MAX {
        // Long enough to come to the next segment now and then.
        let acts = if rng.u8(0..8) == 0 { 60 } else { rng.usize(2..10) };
        let lived = scene.live(past, rng.fork(), acts).await;
        tally.images.fetch_add(1, Relaxed);
        let history = lived.map_err(|what| match nth {
            1 => what,
            _ => format!("{what} (power cut {nth} in a row)"),
        })?;
        if rng.u8(0..3) > 0 {
            break;
        }
        let moment = rng.usize(0..=history.moments().len());
        let mut medium = history.medium();
        medium.advance(history.moments(), moment);
        past = history.cut(moment, &medium, &mut rng);
        tally.again.fetch_add(1, Relaxed);
    }
    Ok(())
}
