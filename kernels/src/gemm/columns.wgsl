// The columns that a tile loads of the weight, and where they are in the tile. A load is four columns of a term.

// The access of the weight for a load, given the column of the run at which the tile begins: in a panel that holds `column`
// columns of another run before it. Panels past the last are replaced by the last one: their sums are not stored.
fn in_panels(first: u32, column: u32, first_column: u32, column4: u32, term: u32) -> u32 {
    let at = (column % 64u + first_column) / 4u + column4;
    let last = (column % 64u + params.columns - 1u) / 64u;
    return first + min(at / 16u, last) * params.panel + term * 16u + at % 16u;
}

#if GATED
// Half of the columns of a tile are values, the others their gates, in turn: BLOCK4 times four of each. The first half of
// the loads are values, so that neighbouring threads read the same binding.
const RESULTS = COLUMNS / 2u;
const HALF = RIGHT / 2u;
const HALF4 = COLUMNS4 / 2u;
#if MATRICES
// A subgroup has a matrix of each.
const BLOCK4 = SIDE / 4u;
#else
// A thread has four columns of each.
const BLOCK4 = HALF4;
#endif

@group(0) @binding(2) var<storage, read> gate_weight: array<Packed>;

fn term_of(load: u32) -> u32 {
    return load % HALF / HALF4;
}

fn column4_of(load: u32) -> u32 {
    let column4 = load % HALF4;
    return (column4 / BLOCK4 * 2u + load / HALF) * BLOCK4 + column4 % BLOCK4;
}

fn weight_place(load: u32, first_column: u32, term: u32) -> u32 {
    if (load < HALF) {
        let column = params.value_column + params.column;
        return in_panels(params.weight_first, column, first_column, load % HALF4, term);
    }
    let column = params.gate_column + params.column;
    return in_panels(params.gate_first, column, first_column, load % HALF4, term);
}

fn right(load: u32, at: u32) -> Packed {
    if (load < HALF) {
        return weight[at];
    }
    return gate_weight[at];
}
#else
const RESULTS = COLUMNS;

fn term_of(load: u32) -> u32 {
    return load / COLUMNS4;
}

fn column4_of(load: u32) -> u32 {
    return load % COLUMNS4;
}

fn weight_place(load: u32, first_column: u32, term: u32) -> u32 {
    return in_panels(params.weight_first, 0u, first_column, load % COLUMNS4, term);
}

fn right(load: u32, at: u32) -> Packed {
    return weight[at];
}
#endif
