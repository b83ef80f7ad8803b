//! The distribution of Kolmogorov's statistic for a sample of finite size.
//!
//! The two-sample p-value is taken, as SciPy's `ks_2samp(method="asymp")` does, from the one-sample distribution at
//! `n = round(N·M / (N + M))`. That distribution is computed by the choice of methods in Simard & L'Ecuyer, "Computing
//! the Two-Sided Kolmogorov-Smirnov Distribution", Journal of Statistical Software 39(11), 2011: Ruben & Gambino's
//! closed forms at the ends, Durbin's matrix for the small and the middle, twice the one-sided tail on the far right,
//! and Pelz & Good's expansion for large n.

use std::f64::consts::PI;

use statrs::function::gamma::ln_gamma;

use super::binomial;

/// `P(D_n ≥ d)` for the two-sided statistic of one sample of size n.
pub(crate) fn tail(n: u64, d: f64) -> f64 {
    if n == 0 || d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let size = n as f64;
    let scaled = size * d;
    if scaled <= 0.5 {
        return 1.0;
    }
    if scaled <= 1.0 {
        let below = ln_gamma(size + 1.0) + size * ((2.0 * scaled - 1.0).ln() - size.ln());
        return 1.0 - below.exp();
    }
    if scaled >= size - 1.0 {
        return 2.0 * (1.0 - d).powf(size);
    }
    let effect = scaled * d;
    let one_sided_is_exact = d >= 0.5;
    let one_sided_is_close = effect >= if n <= 140 { 4.0 } else { 2.2 };
    let tail = if one_sided_is_exact || one_sided_is_close {
        2.0 * one_sided_tail(n, d)
    } else if n <= 140 || (n <= 100_000 && size * d.powf(1.5) <= 1.4) {
        1.0 - durbin_matrix_cdf(n, d)
    } else {
        1.0 - pelz_good_cdf(size, d)
    };
    tail.clamp(0.0, 1.0)
}

/// So many terms of the one-sided sum are added up. Of more, every so-and-so-many-th stands for those around it: what they add up
/// to is a bell over the places at which a sample may stray so far, a fiftieth of them wide or more, so that the trapezoid rule
/// is exact to rounding.
const MAX_SUMMED: u64 = 1024;

/// `P(D⁺_n ≥ d)` by Smirnov's sum (1944), `d·Σ C(n, j)·(d + j/n)^(j−1)·(1 − d − j/n)^(n−j)`. Each term is a binomial
/// probability over its own chance, which keeps all digits however large n is.
fn one_sided_tail(n: u64, d: f64) -> f64 {
    let size = n as f64;
    if size * d * d > 370.0 {
        return 0.0; // exp(−2·370) is below the smallest double
    }
    let last = (size * (1.0 - d)).floor() as u64;
    let step = n.div_ceil(MAX_SUMMED);
    let term = |j: u64| {
        let chance = d + j as f64 / size;
        // At the very end there may be nothing left to fail with.
        let mass = if chance < 1.0 { binomial::mass(n, chance, j) } else { f64::from(u8::from(j == n)) };
        mass / chance
    };
    let sum: f64 = (0..=last / step).map(|place| term(place * step)).sum();
    (d * sum * step as f64).min(1.0)
}

/// `P(D_n < d)` by Durbin's matrix (Marsaglia, Tsang & Wang 2003), exact up to rounding. The matrix has about `2nd`
/// rows and is raised to the n-th power by squaring, with its exponent kept apart.
fn durbin_matrix_cdf(n: u64, d: f64) -> f64 {
    let size = n as f64;
    let k = (size * d).ceil() as usize;
    let m = 2 * k - 1;
    let h = k as f64 - size * d;
    let mut matrix = vec![vec![0.0; m]; m];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry = f64::from(u8::from(i + 1 >= j));
        }
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[0] -= h.powi(i as i32 + 1);
    }
    for (i, entry) in matrix[m - 1].iter_mut().enumerate() {
        *entry -= h.powi((m - i) as i32);
    }
    matrix[m - 1][0] += if 2.0 * h > 1.0 { (2.0 * h - 1.0).powi(m as i32) } else { 0.0 };
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            if i + 1 > j {
                *entry /= (1..=(i + 1 - j)).map(|g| g as f64).product::<f64>();
            }
        }
    }
    let (power, mut exponent) = matrix_power(&matrix, n);
    let mut probability = power[k - 1][k - 1];
    for i in 1..=n {
        probability *= i as f64 / size;
        if probability < 1e-140 {
            probability *= 1e140;
            exponent -= 140;
        }
    }
    probability * 10f64.powi(exponent)
}

/// `matrix^n` as (matrix, power of ten).
fn matrix_power(matrix: &[Vec<f64>], n: u64) -> (Vec<Vec<f64>>, i32) {
    if n == 1 {
        return (matrix.to_vec(), 0);
    }
    let (half, half_exponent) = matrix_power(matrix, n / 2);
    let mut result = product(&half, &half);
    let mut exponent = 2 * half_exponent;
    if n % 2 == 1 {
        result = product(matrix, &result);
    }
    let middle = result.len() / 2;
    if result[middle][middle] > 1e140 {
        for entry in result.iter_mut().flatten() {
            *entry *= 1e-140;
        }
        exponent += 140;
    }
    (result, exponent)
}

fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let m = a.len();
    let mut out = vec![vec![0.0; m]; m];
    for i in 0..m {
        for k in 0..m {
            let factor = a[i][k];
            if factor != 0.0 {
                for j in 0..m {
                    out[i][j] += factor * b[k][j];
                }
            }
        }
    }
    out
}

/// `P(D_n < d)` by the expansion of Pelz & Good (1976) in powers of `n^{-1/2}`, up to `n^{-3/2}`.
fn pelz_good_cdf(n: f64, d: f64) -> f64 {
    const TERMS: i32 = 20;
    let z = n.sqrt() * d;
    let (z2, z3) = (z * z, z.powi(3));
    let (z4, z6, z7, z10) = (z.powi(4), z.powi(6), z.powi(7), z.powi(10));
    let (pi2, pi4, pi6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let half_root = (PI / 2.0).sqrt();
    let (mut k0, mut k1, mut k2a, mut k2b, mut k3a, mut k3b) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for i in (0..TERMS).rev() {
        let odd = f64::from(i) + 0.5; // k + 1/2
        let odd2 = odd * odd;
        let e = (-pi2 * odd2 / (2.0 * z2)).exp();
        k0 += e;
        k1 += (pi2 * odd2 - z2) * e;
        k2a += (6.0 * z6 + 2.0 * z4 + pi2 * (2.0 * z4 - 5.0 * z2) * odd2 + pi4 * (1.0 - 2.0 * z2) * odd2 * odd2) * e;
        k3a += (-30.0 * z6 - 90.0 * z.powi(8)
            + pi2 * (135.0 * z4 - 96.0 * z6) * odd2
            + pi4 * (212.0 * z4 - 60.0 * z2) * odd2 * odd2
            + pi6 * odd2.powi(3) * (5.0 - 30.0 * z2))
            * e;
        let whole2 = f64::from(i + 1) * f64::from(i + 1); // k ≥ 1
        let w = (-pi2 * whole2 / (2.0 * z2)).exp();
        k2b += pi2 * whole2 * w;
        k3b += (3.0 * pi2 * whole2 * z2 - pi4 * whole2 * whole2) * w;
    }
    let term0 = 2.0 * half_root / z * k0;
    let term1 = 2.0 * half_root / (6.0 * z4) * k1;
    let term2 = 2.0 * half_root / (72.0 * z7) * k2a - 2.0 * half_root / (36.0 * z3) * k2b;
    let term3 = 2.0 * half_root / (6480.0 * z10) * k3a + 2.0 * half_root / (216.0 * z6) * k3b;
    term0 + term1 / n.sqrt() + term2 / n + term3 / n.powf(1.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.kstwo.sf(d, n)
    const SCIPY: &[(u64, f64, f64)] = &[
        (1, 0.45, 1.0),
        (1, 0.55, 0.8999999999999999),
        (1, 0.8, 0.3999999999999999),
        (1, 0.95, 0.10000000000000009),
        (2, 0.31819805153394637, 0.9627922061357855),
        (2, 0.38890872965260115, 0.8456349186104045),
        (2, 0.565685424949238, 0.37725830020304796),
        (2, 0.67175144212722, 0.21549423149111954),
        (2, 0.7778174593052023, 0.09873016277919087),
        (2, 0.9192388155425117, 0.013044737829952885),
        (5, 0.20124611797498107, 0.9596606030496858),
        (5, 0.24596747752497689, 0.8568630671630602),
        (5, 0.35777087639996635, 0.4415172023820515),
        (5, 0.42485291572496, 0.24759992283113208),
        (5, 0.49193495504995377, 0.12308798429633916),
        (5, 0.5813776741499453, 0.0390672239448251),
        (5, 0.7155417527999327, 0.004089054214687797),
        (5, 0.8944271909999159, 2.6229522294832813e-05),
        (10, 0.14230249470757705, 0.970337041141728),
        (10, 0.17392527130926086, 0.8739257388294939),
        (10, 0.25298221281347033, 0.46922582172431215),
        (10, 0.300416377715996, 0.2690959564469493),
        (10, 0.3478505426185217, 0.1384087869643037),
        (10, 0.41109609582188933, 0.04834710521134444),
        (10, 0.5059644256269407, 0.006771732455286577),
        (10, 0.6324555320336759, 0.000209088213448878),
        (10, 0.9486832980505138, 2.5328960507819476e-13),
        (30, 0.08215838362577492, 0.9772778323599004),
        (30, 0.10041580220928047, 0.8933769092933956),
        (30, 0.1460593486680443, 0.49844646084650557),
        (30, 0.17344547654330258, 0.2924294285370914),
        (30, 0.20083160441856093, 0.15472305555822596),
        (30, 0.237346441585572, 0.05697780042082523),
        (30, 0.2921186973360886, 0.009204515865887553),
        (30, 0.3651483716701107, 0.0004302325222775849),
        (30, 0.5477225575051661, 5.659336694425199e-09),
        (30, 0.9128709291752769, 3.206548644406629e-32),
        (100, 0.045, 0.9819544016739221),
        (100, 0.05500000000000001, 0.9063568398670332),
        (100, 0.08, 0.5182193645480672),
        (100, 0.095, 0.3077584315548964),
        (100, 0.11000000000000001, 0.16496264039322706),
        (100, 0.13, 0.06209234069876253),
        (100, 0.16, 0.010543506724453174),
        (100, 0.2, 0.0005551927327988775),
        (100, 0.3, 1.7719869892662917e-08),
        (100, 0.5, 1.2131434371817858e-23),
        (139, 0.038168501835598695, 0.9828066679092897),
        (139, 0.04665039113239841, 0.908812103060329),
        (139, 0.06785511437439769, 0.5220077986098577),
        (139, 0.08057794831959723, 0.31066461113625765),
        (139, 0.09330078226479682, 0.16687030084897864),
        (139, 0.11026456085839623, 0.06301629958338356),
        (139, 0.13571022874879538, 0.010773468361368471),
        (139, 0.16963778593599418, 0.0005757505950285417),
        (139, 0.2544566789039913, 2.018571886329006e-08),
        (139, 0.4240944648399855, 3.4033533186064706e-23),
        (141, 0.037896836447993354, 0.9828404337900783),
        (141, 0.04631835565865855, 0.9089131834623161),
        (141, 0.06737215368532153, 0.5221577963245764),
        (141, 0.0800044325013193, 0.3107792534413263),
        (141, 0.0926367113173171, 0.16694579873784998),
        (141, 0.10947974973864748, 0.06305333984860362),
        (141, 0.13474430737064305, 0.010782502579705781),
        (141, 0.1684303842133038, 0.0005765489591390132),
        (141, 0.2526455763199557, 2.0282471365668938e-08),
        (141, 0.42107596053325946, 3.5279048855551754e-23),
        (500, 0.020124611797498106, 0.9850228832611387),
        (500, 0.024596747752497688, 0.9153790366024218),
        (500, 0.03577708763999664, 0.5322609545817769),
        (500, 0.042485291572496, 0.31848759970153195),
        (500, 0.049193495504995376, 0.17195543128938717),
        (500, 0.05813776741499453, 0.06543386037161181),
        (500, 0.07155417527999328, 0.011354046044617962),
        (500, 0.08944271909999159, 0.0006252679097921064),
        (500, 0.13416407864998736, 2.609814109607651e-08),
        (500, 0.22360679774997896, 1.9166940156188108e-22),
        (2_000, 0.010062305898749053, 0.9862298784058797),
        (2_000, 0.012298373876248844, 0.9190850081156627),
        (2_000, 0.01788854381999832, 0.5381410279866505),
        (2_000, 0.021242645786248, 0.32294889584522224),
        (2_000, 0.024596747752497688, 0.1748238470341842),
        (2_000, 0.029068883707497266, 0.06676793866612074),
        (2_000, 0.03577708763999664, 0.0116598894598731),
        (2_000, 0.044721359549995794, 0.0006494700628932492),
        (2_000, 0.06708203932499368, 2.86625602109889e-08),
        (2_000, 0.11180339887498948, 3.129784970241584e-22),
        (12_968, 0.003951627625212241, 0.9869503426030496),
        (12_968, 0.004829767097481627, 0.9213485309459447),
        (12_968, 0.007025115778155094, 0.54177081520363),
        (12_968, 0.008342324986559175, 0.3256946520556976),
        (12_968, 0.009659534194963255, 0.17657830487617776),
        (12_968, 0.011415813139502028, 0.06757331613640238),
        (12_968, 0.014050231556310189, 0.011838989140362815),
        (12_968, 0.017562789445387736, 0.0006628421148120964),
        (12_968, 0.026344184168081604, 2.9855764631378726e-08),
        (12_968, 0.04390697361346934, 3.6698304711827272e-22),
        (14_000, 0.0038031941462783247, 0.9869677144712184),
        (14_000, 0.0046483484010068415, 0.9214036220448422),
        (14_000, 0.0067612340378281335, 0.5418595509230237),
        (14_000, 0.008028965419920908, 0.3257617019640964),
        (14_000, 0.009296696802013683, 0.1766210452122834),
        (14_000, 0.010987005311470717, 0.06759283468399879),
        (14_000, 0.013522468075656267, 0.011843275492489612),
        (14_000, 0.016903085094570332, 0.0006631538848571817),
        (14_000, 0.025354627641855497, 2.988091793910815e-08),
        (14_000, 0.04225771273642583, 3.6794589960778487e-22),
        (100_001, 0.0014230178320043983, 0.9872454053195049),
        (100_001, 0.0017392440168942647, 0.9222876797303109),
        (100_001, 0.0025298094791189303, 0.543286155365172),
        (100_001, 0.0030041487564537294, 0.3268391909264218),
        (100_001, 0.0034784880337885293, 0.1773072156451817),
        (100_001, 0.004110940403568262, 0.06790553160688106),
        (100_001, 0.005059618958237861, 0.011911586801793524),
        (100_001, 0.006324523697797325, 0.0006680666915465733),
        (100_001, 0.009486785546695988, 3.0258232769331796e-08),
        (100_001, 0.015811309244493314, 3.8068821384025157e-22),
        (1_000_000, 0.00045, 0.9873584442778991),
        (1_000_000, 0.00055, 0.9226494281265247),
        (1_000_000, 0.0008, 0.5438713666611479),
        (1_000_000, 0.00095, 0.32728093632016153),
        (1_000_000, 0.0011, 0.1775881691134995),
        (1_000_000, 0.0013, 0.06803320588112582),
        (1_000_000, 0.0016, 0.011939282537735608),
        (1_000_000, 0.002, 0.0006700277103670718),
        (1_000_000, 0.003, 3.039812751939269e-08),
        (1_000_000, 0.005, 3.8436375474778123e-22),
    ];

    #[test]
    fn tail_equals_scipys() {
        for &(n, d, expected) in SCIPY {
            let got = tail(n, d);
            assert!((got / expected - 1.0).abs() < 1e-6, "n = {n}, d = {d}: {got}, SciPy has {expected}");
        }
    }

    // 2·scipy.special.smirnov(n, d)
    #[test]
    fn far_out_it_keeps_its_digits() {
        for (n, d, expected) in FAR {
            let got = tail(n, d);
            assert!((got / (2.0 * expected) - 1.0).abs() < 1e-9, "n = {n}, d = {d}: {got}, SciPy has {expected} twice");
        }
    }

    const FAR: [(u64, f64, f64); 4] = [
        (5_000, 0.25, 4.011204878567454e-276),
        (13_000, 0.05, 5.509981300758573e-29),
        (13_000, 0.1, 6.368799965729446e-114),
        (13_000, 0.15, 4.098163322337124e-256),
    ];

    #[test]
    fn falls_from_one_to_zero_as_d_grows() {
        for n in [1, 2, 7, 50, 139, 141, 1000, 100_001, 10_000_000] {
            let tails: Vec<f64> = (0..=2000).map(|i| tail(n, f64::from(i) / 2000.0)).collect();
            assert_eq!((tails[0], tails[2000]), (1.0, 0.0));
            for pair in tails.windows(2) {
                assert!(pair[1] <= pair[0] + 1e-9, "n = {n}: {pair:?}");
            }
        }
    }
}
