// The left side of a convolution: for each pixel of the result the pixels under its kernel. Terms are in the order
// (row of the kernel, column of the kernel, channel). Outside the image is zero.

@group(0) @binding(5) var<storage, read> x: array<Elems>;

// A pixel of the result: the start of its image, and where its kernel begins. Negative values wrap to large ones, which
// are outside too.
struct Place { first: u32, y: u32, x: u32 }

// A term of the sums: its index, and its channel and tap.
struct Term { index: u32, channel: u32, tap_y: u32, tap_x: u32 }

fn place(row: u32) -> Place {
    let pixel = row % params.pixels;
    let y = pixel / params.out_width * params.stride + params.top;
    let x = pixel % params.out_width * params.stride + params.left;
    return Place(params.x_first + row / params.pixels * params.image, y, x);
}

fn term(index: u32) -> Term {
    let access = index / V;
    let tap = access / params.channels;
    return Term(index, access % params.channels, tap / params.kernel, tap % params.kernel);
}

fn next(at: Term) -> Term {
#if SCALAR
    return term(at.index + DEPTH);
#else
    var to = at;
    to.index += DEPTH;
    to.channel += DEPTH / V;
    while (to.channel >= params.channels) {
        to.channel -= params.channels;
        to.tap_x += 1u;
        if (to.tap_x == params.kernel) {
            to.tap_x = 0u;
            to.tap_y += 1u;
        }
    }
    return to;
#endif
}

#if SCALAR
alias Loaded = f32;
#else
alias Loaded = Four;
#endif

fn access(pixel: Place, at: Term) -> Loaded {
    var y = pixel.y + at.tap_y;
    var column = pixel.x + at.tap_x;
    if (at.index >= params.depth || y >= params.to_height || column >= params.to_width) {
        return Loaded();
    }
    if (params.to_height != params.height) {
        y = y * params.height / params.to_height;
    }
    if (params.to_width != params.width) {
        column = column * params.width / params.to_width;
    }
    return Loaded(x[pixel.first + ((y - params.source) * params.width + column) * params.channels + at.channel]);
}

// Four terms of a pixel.
fn left(pixel: Place, at: Term) -> Four {
#if SCALAR
    return Four(
        access(pixel, at),
        access(pixel, term(at.index + 1u)),
        access(pixel, term(at.index + 2u)),
        access(pixel, term(at.index + 3u)),
    );
#else
    return access(pixel, at);
#endif
}
