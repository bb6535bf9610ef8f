// Matrices of SIDE by SIDE elements that the SUBGROUP threads of a subgroup hold together. SIDE is 16 or, with the flag
// SIDE_8, 8. The factors are `f16`, in workgroup memory as arrays of `Half`; the sums are `f32`, stored as `Float`.
//
// COOPERATIVE multiplies them as cooperative matrices. Without it each thread computes its elements by itself, slowly, so
// that tests on any adapter check everything except the loads, products and stores of cooperative matrices.

#if SIDE_8
// Metal loads from arrays of scalars only.
const PACK = 1u;
const SIDE = 8u;
alias Half = f16;
alias Float = f32;
#else
const PACK = 4u;
const SIDE = 16u;
alias Half = vec4<f16>;
alias Float = vec4<f32>;
#endif

#if COOPERATIVE
#if SIDE_8
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Matrix = coop_mat8x8<f32, C>;
#else
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Matrix = coop_mat16x16<f32, C>;
#endif
#else
// The elements of a thread: every SUBGROUP-th, row by row.
alias Matrix = array<f32, SIDE * SIDE / SUBGROUP>;
#endif

