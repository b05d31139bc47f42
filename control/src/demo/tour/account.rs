//! Step: every packet that came in is accounted for, by adit and by the kernel.

use dataplane::drop_reason::DropReason;

use super::super::report::{Count, Table};
use super::super::trouble::Trouble;
use super::{Tour, list};
use crate::api::{Drop, Status};

/// What both sides count, at one moment.
struct Books {
    status: Status,
    drops: Vec<Drop>,
    /// Frames that the kernel handed to and took from adit's devices, as the kernel counts them.
    kernel: (u64, u64),
}

impl Books {
    fn open(tour: &Tour<'_>) -> Result<Books, Trouble> {
        let (status, drops) = (tour.daemon.status()?, tour.daemon.drops()?);
        let mut kernel = (0, 0);
        for device in tour.topology.devices() {
            let counters = device.counters()?;
            kernel.0 += counters.rx_packets;
            kernel.1 += counters.tx_packets;
        }
        Ok(Books { status, drops, kernel })
    }

    /// Where packets that came in have gone.
    fn outcomes(&self) -> u64 {
        let status = &self.status;
        status.forwarded + status.consumed + status.held + status.dropped
    }

    fn dropped(&self) -> u64 {
        self.drops.iter().map(|drop| drop.count).sum()
    }

    /// Frames received and sent, as adit counts them for each device.
    fn devices(&self) -> (u64, u64) {
        let devices = self.status.devices.iter();
        devices.fold((0, 0), |sum, device| (sum.0 + device.received, sum.1 + device.sent))
    }

    fn balanced(&self) -> bool {
        self.status.received == self.outcomes()
            && self.status.dropped == self.dropped()
            && self.devices() == self.kernel
    }
}

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    tour.twins.clear();
    // Counters of one moment: the last packets of closing connections are still under way.
    let books = tour.settle(Books::open, Books::balanced)?;
    let status = &books.status;
    let mut table = Table::new(["", "packets", ""]).right(&[1]);
    let rows = [
        ("came in", status.received, "frames from all devices"),
        ("forwarded", status.forwarded, "translated and sent"),
        ("consumed", status.consumed, "for adit itself: ARP"),
        ("waiting", status.held, "for a next hop"),
        ("dropped", status.dropped, "each for one reason:"),
    ];
    for (name, count, words) in rows {
        table.row([name.to_owned(), Count(count).to_string(), words.to_owned()]);
    }
    for drop in books.drops.iter().filter(|drop| drop.count > 0) {
        table.row([String::new(), Count(drop.count).to_string(), format!("  {}", drop.metric)]);
    }
    tour.report.table(&table);
    let claim = "Packets in = forwarded + consumed + waiting + dropped";
    tour.report.equal(claim, status.received, books.outcomes());
    tour.report.equal("The reasons add up to the drops", status.dropped, books.dropped());
    let (kernel, devices) = (books.kernel, books.devices());
    let claim = "The kernel counted the same frames on adit's interfaces, in and out";
    tour.report.equal(claim, list([kernel.0, kernel.1]), list([devices.0, devices.1]));
    let bugs = books.drops.iter().find(|drop| drop.metric == DropReason::Internal.metric());
    tour.report.equal("None was dropped for a bug of adit", 0, bugs.map_or(0, |drop| drop.count));
    Ok(())
}
