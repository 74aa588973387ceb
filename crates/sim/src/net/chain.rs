//! Many short queues in one allocation: an idle pipe costs a few words, regardless of its earlier
//! length.
//!
//! Every node is in exactly one chain or free.

const END: u32 = u32::MAX;

/// One queue; its nodes are in a [`Chains`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    head: u32,
    tail: u32,
}

impl Chain {
    pub(crate) const EMPTY: Chain = Chain { head: END, tail: END };

    #[cfg(test)]
    fn is_empty(self) -> bool {
        self.head == END
    }
}

/// The nodes of all chains.
#[derive(Debug)]
pub(crate) struct Chains<T> {
    nodes: Vec<Node<T>>,
    free: u32,
}

#[derive(Debug)]
struct Node<T> {
    next: u32,
    item: Option<T>,
}

impl<T> Default for Chains<T> {
    fn default() -> Self {
        Chains { nodes: Vec::new(), free: END }
    }
}

impl<T> Chains<T> {
    pub(crate) fn push(&mut self, chain: &mut Chain, item: T) {
        let node = self.take_node(item);
        match chain.tail {
            END => chain.head = node,
            tail => self.nodes[tail as usize].next = node,
        }
        chain.tail = node;
    }

    pub(crate) fn front(&self, chain: Chain) -> Option<&T> {
        self.nodes.get(chain.head as usize)?.item.as_ref()
    }

    pub(crate) fn front_mut(&mut self, chain: Chain) -> Option<&mut T> {
        self.nodes.get_mut(chain.head as usize)?.item.as_mut()
    }

    pub(crate) fn pop(&mut self, chain: &mut Chain) -> Option<T> {
        let head = chain.head;
        let node = self.nodes.get_mut(head as usize)?;
        let item = node.item.take();
        chain.head = node.next;
        if chain.head == END {
            chain.tail = END;
        }
        node.next = self.free;
        self.free = head;
        item
    }

    pub(crate) fn clear(&mut self, chain: &mut Chain) {
        while self.pop(chain).is_some() {}
    }

    /// Removes the first item for which `is_meant` is true; the rest keeps its order.
    pub(crate) fn remove(&mut self, chain: &mut Chain, is_meant: impl Fn(&T) -> bool) -> Option<T> {
        let (mut kept, mut found) = (Chain::EMPTY, None);
        while let Some(item) = self.pop(chain) {
            if found.is_none() && is_meant(&item) {
                found = Some(item);
            } else {
                self.push(&mut kept, item);
            }
        }
        *chain = kept;
        found
    }

    fn take_node(&mut self, item: T) -> u32 {
        let node = Node { next: END, item: Some(item) };
        match self.free {
            END => {
                self.nodes.push(node);
                crate::units::number(self.nodes.len() - 1)
            }
            free => {
                self.free = self.nodes[free as usize].next;
                self.nodes[free as usize] = node;
                free
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chains_that_share_memory_are_queues_of_their_own(
            operations in prop::collection::vec((0usize..3, 0u8..4, 0u8..4), 0..300)
        ) {
            let mut chains = Chains::default();
            let mut shared = [Chain::EMPTY; 3];
            let mut model: [VecDeque<u8>; 3] = Default::default();
            for (which, operation, item) in operations {
                match operation {
                    0 | 1 => {
                        chains.push(&mut shared[which], item);
                        model[which].push_back(item);
                    }
                    2 => prop_assert_eq!(chains.pop(&mut shared[which]), model[which].pop_front()),
                    _ => {
                        let at = model[which].iter().position(|other| *other == item);
                        let expected = at.and_then(|at| model[which].remove(at));
                        prop_assert_eq!(chains.remove(&mut shared[which], |other| *other == item), expected);
                    }
                }
                for (chain, model) in shared.iter().zip(&model) {
                    prop_assert_eq!(chains.front(*chain), model.front());
                    prop_assert_eq!(chain.is_empty(), model.is_empty());
                }
            }
            let most = model.iter().map(VecDeque::len).sum::<usize>();
            prop_assert!(chains.nodes.len() >= most);
        }
    }

    #[test]
    fn what_was_emptied_is_used_again() {
        let (mut chains, mut chain) = (Chains::default(), Chain::EMPTY);
        for _ in 0..1000 {
            chains.push(&mut chain, ());
            chains.clear(&mut chain);
        }
        assert_eq!(chains.nodes.len(), 1);
    }
}
