//! When nothing has changed for a lease, the coordinator's table lists exactly the live hosts.

use tnet_coordinator::SwarmSize;

use super::Breach;

pub(crate) fn table_differs(table: SwarmSize, full: u32, partial: u32) -> Option<Breach> {
    let (table_full, table_partial) = (table.full, table.partial);
    let differs = (table_full, table_partial) != (full, partial);
    differs.then_some(Breach::TableDiffers { table_full, table_partial, full, partial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_host_in_the_table_is_a_breach() {
        let table = SwarmSize { full: 3, partial: 0 };
        assert_eq!(table_differs(table, 3, 0), None);
        let expected =
            Breach::TableDiffers { table_full: 3, table_partial: 0, full: 2, partial: 0 };
        assert_eq!(table_differs(table, 2, 0), Some(expected));
        assert!(table_differs(table, 2, 1).is_some());
    }
}
