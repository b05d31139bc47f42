//! Step: a packet that is dropped is counted once, under a reason with a sentence.

use dataplane::drop_reason::DropReason;
use lab::client::{PingOutcome, ping};

use super::super::topology::ENDPOINT;
use super::super::trouble::Trouble;
use super::{SILENCE, Tour};

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let metric = DropReason::IcmpUnsupported.metric();
    let before = tour.daemon.drop_of(metric)?.count;
    let [consumer, _] = &tour.topology.consumers;
    let outcome = consumer.host.run(|| ping(ENDPOINT, SILENCE))??;
    let drop = tour.daemon.drop_of(metric)?;
    tour.report.say(&format!("{} pings {ENDPOINT}. adit says:", consumer.name));
    tour.report.line("");
    tour.report.line(&format!("{}  {}", drop.metric, drop.count));
    tour.report.line(&format!("  {}", drop.sentence));
    tour.report.line(&format!("  {} ({})", drop.cure, drop.source));
    tour.report.line("");
    let silent = outcome == PingOutcome::TimedOut;
    tour.report.claim("The ping got no answer", silent, "TimedOut", format!("{outcome:?}"));
    let claim = format!("{metric} went up by one");
    tour.report.equal(&claim, before + 1, drop.count);
    Ok(())
}
