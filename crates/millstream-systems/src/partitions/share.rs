//! Who reads what: the partitions of a topic shared out over a number of processes.
//!
//! The rule is Kafka's range assignor for one topic: consecutive runs, sizes that differ by at most one, the larger
//! shares first; a process beyond the number of partitions gets nothing and idles.

/// The partitions of each process: `processes` shares of the partitions 0 to `partitions` - 1.
#[must_use]
pub fn share(partitions: u32, processes: u32) -> Vec<Vec<i32>> {
    let mut next = 0;
    let (size, larger) = (
        partitions.checked_div(processes).unwrap_or(0),
        partitions.checked_rem(processes).unwrap_or(0),
    );
    (0..processes)
        .map(|process| {
            let end = next + size + u32::from(process < larger);
            let own = (next..end)
                .filter_map(|partition| i32::try_from(partition).ok())
                .collect();
            next = end;
            own
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_consecutive_and_differ_by_at_most_one() {
        assert_eq!(share(6, 2), [vec![0, 1, 2], vec![3, 4, 5]]);
        assert_eq!(share(5, 3), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn processes_beyond_the_partitions_idle() {
        assert_eq!(share(2, 4), [vec![0], vec![1], vec![], vec![]]);
    }

    #[test]
    fn every_partition_is_read_once_whatever_the_numbers() {
        for partitions in 0..40 {
            for processes in 1..12 {
                let all: Vec<i32> = share(partitions, processes).concat();
                assert_eq!(
                    all,
                    (0..i32::try_from(partitions).unwrap()).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn no_process_reads_nothing() {
        assert_eq!(share(3, 0), Vec::<Vec<i32>>::new());
    }
}
