//! A map of the stored chunks of a file, as one line of characters: the more chunks of a cell are
//! stored, the darker it is. Only a complete cell is full, and only one without any is empty.

use tnet_peer::ChunkMap;

const BLOCKS: &[char] = &[' ', '░', '▒', '▓', '█'];
const ASCII: &[char] = &[' ', '.', ':', '#'];

/// The map between brackets, with at most so many places.
pub(crate) fn chunk_map_line(map: &ChunkMap, most_places: usize, utf8: bool) -> String {
    let cells: Vec<(u64, u64)> = map
        .chunks
        .iter()
        .zip(&map.stored)
        .map(|(chunks, stored)| ((*chunks).into(), (*stored).into()))
        .collect();
    let places = cells.len().min(most_places);
    let marks = if utf8 { BLOCKS } else { ASCII };
    let place = |place: usize| {
        let run = &cells[place * cells.len() / places..(place + 1) * cells.len() / places];
        let (chunks, stored) =
            run.iter().fold((0, 0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
        mark(marks, stored, chunks)
    };
    let line: String = (0..places).map(place).collect();
    format!("[{line}]")
}

fn mark(marks: &[char], stored: u64, chunks: u64) -> char {
    let between = marks.len() as u64 - 2;
    let level = match stored {
        0 => 0,
        _ if stored >= chunks => between + 1,
        _ => 1 + stored * between / chunks,
    };
    marks[usize::try_from(level).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(cells: &[(u32, u32)]) -> ChunkMap {
        ChunkMap {
            chunks: cells.iter().map(|cell| cell.0).collect(),
            stored: cells.iter().map(|cell| cell.1).collect(),
            under_way: vec![0; cells.len()],
        }
    }

    #[test]
    fn the_fuller_a_place_the_darker_it_is() {
        let map = map(&[(100, 0), (100, 1), (100, 34), (100, 67), (100, 99), (100, 100)]);
        assert_eq!(chunk_map_line(&map, 64, true), "[ ░▒▓▓█]");
        assert_eq!(chunk_map_line(&map, 64, false), "[ ..::#]");
    }

    #[test]
    fn fewer_places_than_cells_share_them() {
        let map = map(&[(1, 1), (1, 1), (1, 1), (1, 0), (1, 0), (1, 0)]);
        assert_eq!(chunk_map_line(&map, 6, true), "[███   ]");
        assert_eq!(chunk_map_line(&map, 3, true), "[█▒ ]");
        assert_eq!(chunk_map_line(&map, 1, false), "[:]");
        assert_eq!(chunk_map_line(&map, 0, false), "[]");
    }

    #[test]
    fn an_inconsistent_map_is_a_line_too() {
        let odd =
            ChunkMap { chunks: vec![0, 5, u32::MAX], stored: vec![0, 9], under_way: Vec::new() };
        assert_eq!(chunk_map_line(&odd, 64, true), "[ █]");
        let most = map(&[(u32::MAX, u32::MAX - 1); 64]);
        assert_eq!(chunk_map_line(&most, 2, false), "[::]");
    }
}
