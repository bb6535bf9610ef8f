// The left side of a product of matrices: rows of `x`.

@group(0) @binding(5) var<storage, read> x: array<Elems>;

// The start of a row.
struct Place { first: u32 }

// A term of the sums.
struct Term { index: u32 }

fn place(row: u32) -> Place {
    return Place(params.x_first + row * (params.depth / V));
}

fn term(index: u32) -> Term {
    return Term(index);
}

fn next(at: Term) -> Term {
    return Term(at.index + DEPTH);
}

// Four terms of a row.
fn left(row: Place, at: Term) -> Four {
    var values = Four();
#if SCALAR
    for (var i = 0u; i < 4u; i++) {
        if (at.index + i < params.depth) {
            values[i] = f32(x[row.first + at.index + i]);
        }
    }
#else
    if (at.index < params.depth) {
        values = Four(x[row.first + at.index / 4u]);
    }
#endif
    return values;
}
