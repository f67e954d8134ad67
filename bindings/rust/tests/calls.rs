//! What the safe functions promise, on values worked out by hand.

use gradclip::*;

const PLAIN: Options = Options::new().eps(0.0);

#[test]
fn clipping_scales_every_type_by_one_factor() {
    let (mut a, mut b) = ([3.0f32, 0.0], [4.0f64]);
    // 12 as f16 and as bf16: 1.5 * 2^3, exponent 3.
    let (mut c, mut d) = ([0x4a00u16], [0x4140u16]);
    let mut grads = [Grad::from(&mut a[..]), Grad::from(&mut b[..]), Grad::f16(&mut c), Grad::bf16(&mut d).uncounted()];
    let clip = clip_grad_norm(&mut grads, 6.5, 2.0, &PLAIN).unwrap();
    // 9 + 16 + 144 = 13^2; the bf16 is scaled and not counted.
    assert_eq!(clip, Clip { total_norm: 13.0, clip_coef: 0.5, factor: 0.5, nonfinite: None });
    assert_eq!((a, b, c, d), ([1.5, 0.0], [2.0], [0x4600], [0x40c0]));
}

#[test]
fn nothing_is_written_when_nothing_needs_clipping() {
    let mut a = [f32::from_bits(1), -0.0, 0.5];
    let clip = clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, 2.0, &PLAIN).unwrap();
    assert_eq!((clip.clip_coef, a.map(f32::to_bits)), (1.0, [1, 0x8000_0000, 0x3f00_0000]));
}

#[test]
fn empty_lists_and_empty_gradients_have_norm_0() {
    let mut nothing: [f32; 0] = [];
    let none: [Grad; 0] = [];
    assert_eq!(get_total_norm(&none, 2.0, &PLAIN).unwrap().total_norm, 0.0);
    let mut grads = [Grad::from(&mut nothing[..])];
    assert!(grads[0].is_empty());
    assert_eq!(clip_grad_norm(&mut grads, 1.0, 2.0, &PLAIN).unwrap().clip_coef, 1.0);
}

#[test]
fn out_of_place_leaves_the_source_alone() {
    let (a, mut out) = ([3.0f32, 4.0], [0.0f32; 2]);
    let _ = clip_grad_norm_to(&[GradRef::from(&a[..])], &mut [Grad::from(&mut out[..])], 2.5, 2.0, &PLAIN).unwrap();
    assert_eq!((a, out), ([3.0, 4.0], [1.5, 2.0]));
}

#[test]
fn out_of_place_lists_of_two_lengths_are_refused() {
    let (a, mut out) = ([3.0f32, 4.0], [7.0f32; 2]);
    let grads = [GradRef::from(&a[..]), GradRef::from(&a[..])];
    let error = clip_grad_norm_to(&grads, &mut [Grad::from(&mut out[..])], 2.5, 2.0, &PLAIN).unwrap_err();
    assert_eq!(error, Error::InvalidArgument("outputs must be as many as the 2 gradients (got 1)".into()));
    let error = clip_grad_norm_to(&grads[..1], &mut [Grad::from(&mut out[..1])], 2.5, 2.0, &PLAIN).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{:?}", error);
    assert_eq!(out, [7.0; 2]);
}

#[test]
fn norms_of_every_order() {
    let (a, b) = ([3.0f32, -4.0], [0.0f32, 12.0]);
    let grads = [GradRef::from(&a[..]), GradRef::from(&b[..])];
    for (norm_type, total, norms) in [
        (2.0, 13.0, [5.0, 12.0]),
        (1.0, 19.0, [7.0, 12.0]),
        (0.0, 2.0, [2.0, 1.0]),
        (f64::INFINITY, 12.0, [4.0, 12.0]),
        (f64::NEG_INFINITY, 0.0, [3.0, 0.0]),
    ] {
        assert_eq!(get_total_norm(&grads, norm_type, &PLAIN).unwrap().total_norm, total, "p = {}", norm_type);
        assert_eq!(get_norms(&grads, norm_type, &PLAIN).unwrap(), norms, "p = {}", norm_type);
    }
}

#[test]
fn deferred_clipping_reads_only() {
    let a = [30.0f32, 40.0];
    let clip = defer_clip(&[GradRef::from(&a[..])], 1.0, 2.0, &PLAIN.grad_scale(2.0)).unwrap();
    assert_eq!((clip.total_norm, clip.clip_coef, clip.factor), (25.0, 0.04, 0.02));
    assert_eq!(clip_coef(1.0, 25.0, &PLAIN), Ok(0.04));
}

#[test]
fn clipping_by_a_known_norm() {
    let mut a = [4.0f32, -8.0];
    let clip = clip_grads_with_norm(&mut [Grad::from(&mut a[..])], 1.0, 4.0, &PLAIN).unwrap();
    assert_eq!((clip.factor, a), (0.25, [1.0, -2.0]));
    let error = clip_grads_with_norm(&mut [Grad::from(&mut a[..])], 1.0, f64::INFINITY, &PLAIN).unwrap_err();
    assert!(matches!(error, Error::NonFinite(clip) if clip.nonfinite.is_none()), "{:?}", error);
    assert_eq!((error.to_string(), a), ("the norm is not finite (inf)".into(), [1.0, -2.0]));
}

#[test]
fn scaling_and_clamping() {
    let mut a = [4.0f32, -8.0, f32::NAN];
    scale(&mut [Grad::from(&mut a[..2])], 0.5, &PLAIN).unwrap();
    clip_grad_value(&mut [Grad::from(&mut a[..])], 3.0, &PLAIN).unwrap();
    assert_eq!(a[..2], [2.0, -3.0]);
    assert!(a[2].is_nan());
}

#[test]
fn every_policy_for_what_is_not_finite() {
    let original = [3.0f32, f32::INFINITY, f32::NAN, 4.0];
    let found = NonFinite { count: 2, nan_count: 1, first_tensor: 0, first_element: 1 };

    let mut a = original;
    let error = clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, 2.0, &PLAIN).unwrap_err();
    assert!(matches!(error, Error::NonFinite(clip) if clip.nonfinite == Some(found)), "{:?}", error);
    assert_eq!(
        error.to_string(),
        "2 elements are not finite (1 NaN, 1 infinite): the first is element 1 of gradient 0"
    );
    assert_eq!(a.map(f32::to_bits), original.map(f32::to_bits));

    let zero = PLAIN.nonfinite(Nonfinite::Zero);
    let clip = clip_grad_norm(&mut [Grad::from(&mut a[..])], 2.5, 2.0, &zero).unwrap();
    assert_eq!((clip.total_norm, clip.nonfinite, a), (5.0, Some(found), [1.5, 0.0, 0.0, 2.0]));

    let mut a = original;
    let propagate = PLAIN.nonfinite(Nonfinite::Propagate);
    assert!(clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, 2.0, &propagate).unwrap().clip_coef.is_nan());
    assert!(a.iter().all(|x| x.is_nan()));
}

#[test]
fn a_deferred_call_is_an_error_over_a_nan_that_stays() {
    let grad = [3.0f32, f32::NAN, 4.0];
    let zero = PLAIN.nonfinite(Nonfinite::Zero);
    let mut sum = Accumulator::new(2.0, &zero).unwrap();
    sum.set_next_tensor(7).unwrap(); // which one it is
    sum.add(&[GradRef::from(&grad)]).unwrap();
    for (result, tensor) in [(defer_clip(&[GradRef::from(&grad)], 1.0, 2.0, &zero), 0), (sum.finish(1.0), 7)] {
        match result {
            Err(Error::NonFinite(clip)) => {
                let found = clip.nonfinite.unwrap();
                assert_eq!((clip.total_norm, clip.factor), (5.0, 0.2));
                assert_eq!((found.first_tensor, found.first_element), (tensor, 1));
            }
            other => panic!("{:?}", other),
        }
    }
}

#[test]
fn errors_name_the_argument_and_its_value() {
    let mut a = [3.0f32];
    for (result, text) in [
        (clip_grad_norm(&mut [Grad::from(&mut a[..])], -1.0, 2.0, &PLAIN), "max_norm must be a number >= 0 (got -1)"),
        (clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, 2.0, &PLAIN.eps(-2.0)), "(got -2)"),
        (clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, 2.0, &PLAIN.grad_scale(0.0)), "grad_scale"),
        (clip_grad_norm(&mut [Grad::from(&mut a[..])], 1.0, f64::NAN, &PLAIN), "norm_type"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)) && error.to_string().contains(text), "{:?}", error);
    }
    assert_eq!(a, [3.0]);
}

#[test]
fn exact_f64_reaches_the_library() {
    // Only accumulators that agree in it can be merged.
    let exact = || Accumulator::new(2.0, &PLAIN.exact_f64(true)).unwrap();
    assert!(matches!(exact().merge(&Accumulator::new(2.0, &PLAIN).unwrap()), Err(Error::InvalidArgument(_))));
    exact().merge(&exact()).unwrap();
}

#[test]
fn the_accumulator_has_the_bits_of_one_call() {
    let values: Vec<f32> = (0..100_000u32).map(|i| (i.wrapping_mul(2654435761) as i32) as f32 * 1e-9).collect();
    let whole = get_total_norm(&[GradRef::from(&values[..])], 2.0, &PLAIN).unwrap().total_norm;
    let mut first = Accumulator::new(2.0, &PLAIN).unwrap();
    let mut second = Accumulator::new(2.0, &PLAIN).unwrap();
    first.add(&[GradRef::from(&values[..777])]).unwrap();
    for piece in values[777..].chunks(5000) {
        second.add(&[GradRef::from(piece)]).unwrap();
    }
    first.merge(&second).unwrap();
    assert_eq!(first.finish(f64::INFINITY).unwrap().total_norm.to_bits(), whole.to_bits());

    let bytes = first.export().unwrap();
    assert!(bytes.len() <= 192);
    second.reset().unwrap();
    second.import(&bytes).unwrap();
    assert_eq!(second.finish(f64::INFINITY).unwrap().total_norm.to_bits(), whole.to_bits());
    assert!(matches!(second.import(&bytes[1..]), Err(Error::BadData(_))));
}

#[test]
fn an_accumulator_moves_to_other_threads() {
    let values = vec![1.0f32; 40_000];
    let parts: Vec<Accumulator> = std::thread::scope(|scope| {
        let workers: Vec<_> = values
            .chunks(10_000)
            .map(|part| {
                scope.spawn(move || {
                    let mut norm = Accumulator::new(2.0, &PLAIN).unwrap();
                    norm.add(&[GradRef::from(part)]).unwrap();
                    norm
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut total = Accumulator::new(2.0, &PLAIN).unwrap();
    parts.iter().for_each(|part| total.merge(part).unwrap());
    assert_eq!(total.finish(100.0).unwrap().factor, 0.5);
}

#[test]
fn the_accumulator_finds_what_is_not_finite_and_can_go_on() {
    let mut norm = Accumulator::new(2.0, &PLAIN).unwrap();
    norm.add(&[GradRef::from(&[3.0f32, f32::NAN][..])]).unwrap();
    assert!(matches!(norm.finish(1.0), Err(Error::NonFinite(_))));
    norm.reset().unwrap();
    norm.add(&[GradRef::from(&[3.0f32, 4.0][..])]).unwrap();
    assert_eq!(norm.finish(1.0).unwrap().factor, 0.2);
}

#[test]
fn ranks_add_words_up_and_clip_by_the_norm_of_all() {
    let (mut a, mut b) = ([3.0f32, 12.0], [4.0f32]);
    let mut ranks = [&a[..], &b[..]].map(|shard| {
        let mut norm = Accumulator::new(2.0, &PLAIN).unwrap();
        norm.add(&[GradRef::from(shard)]).unwrap();
        norm
    });
    let words = [ranks[0].to_words(6.5).unwrap(), ranks[1].to_words(6.5).unwrap()];
    let mut sums = words[0];
    sums.iter_mut().zip(words[1]).for_each(|(sum, word)| *sum += word);
    for (norm, shard) in ranks.iter_mut().zip([&mut a[..], &mut b[..]]) {
        norm.from_words(6.5, &sums).unwrap();
        let clip = norm.clip(&mut [Grad::from(shard)], 6.5).unwrap();
        assert_eq!((clip.total_norm, clip.factor), (13.0, 0.5));
    }
    assert_eq!((a, b), ([1.5, 6.0], [2.0]));
    // Ranks that disagree in max_norm are noticed.
    assert!(ranks[0].from_words(7.0, &sums).is_err());
}

#[test]
fn a_chooser_decides_from_the_norms_before() {
    // The median of the norms so far, this one among them: 1; 1.5; 2; then of 1, 2, 3, 5: 2.5.
    let options = ChooserOptions::new(Rule::AutoClip).percentile(50.0);
    let mut chooser = Chooser::new(&options).unwrap();
    for (norm, threshold) in [(1.0, 1.0), (2.0, 1.5), (3.0, 2.0)] {
        let decision = chooser.feed(norm, None).unwrap();
        assert_eq!((decision.threshold, decision.recorded), (threshold, true));
    }
    let bytes = chooser.export().unwrap();
    let mut resumed = Chooser::new(&options).unwrap();
    resumed.import(&bytes).unwrap();
    assert!(matches!(resumed.import(&bytes[1..]), Err(Error::BadData(_))));
    for mut chooser in [chooser, resumed] {
        let mut a = [3.0f32, 4.0];
        let (clip, decision) = chooser.clip(&mut [Grad::from(&mut a[..])], 2.0, None, &PLAIN).unwrap();
        assert_eq!((clip.total_norm, decision.threshold, decision.action), (5.0, 2.5, Action::Clip));
        assert!((a[0] - 1.5).abs() < 1e-6 && (a[1] - 2.0).abs() < 1e-6, "{:?}", a);
        chooser.reset().unwrap();
        assert_eq!(chooser.feed(7.0, None).unwrap().steps, 1);
    }
    let error = Chooser::new(&options.percentile(101.0)).unwrap_err();
    assert!(error.to_string().contains("percentile") && error.to_string().contains("101"), "{}", error);
}

#[test]
fn a_chooser_skips_outliers_and_what_is_not_finite() {
    let mut chooser = Chooser::new(&ChooserOptions::new(Rule::SkipStep).window(8)).unwrap();
    for norm in [1.0, 1.1, 0.9, 1.0, 1.05, 0.95] {
        assert_eq!(chooser.feed(norm, Some(1.0 + norm)).unwrap().action, Action::Pass);
    }
    let mut a = [300.0f32, 400.0];
    let error = chooser.clip(&mut [Grad::from(&mut a[..])], 2.0, Some(2.0), &PLAIN).unwrap_err();
    assert!(
        matches!(&error, Error::SkipStep(clip, decision)
        if clip.total_norm == 500.0 && decision.action == Action::Skip),
        "{:?}",
        error
    );
    assert!(error.to_string().starts_with("the step is an outlier: norm 500, threshold "), "{}", error);
    a[1] = f32::NAN;
    let error = chooser.clip(&mut [Grad::from(&mut a[..])], 2.0, Some(2.0), &PLAIN).unwrap_err();
    assert!(matches!(error, Error::NonFinite(_)), "{:?}", error);
    let error = chooser.clip(&mut [Grad::from(&mut a[..1])], 2.0, Some(f64::NAN), &PLAIN).unwrap_err();
    assert_eq!(error.to_string(), "the loss is not finite");
    assert_eq!(a[0], 300.0);
    // AdaGC's first threshold is that of all together: max_norm 1, eps 1e-8.
    let decision = Chooser::new(&ChooserOptions::new(Rule::AdaGc)).unwrap().feed_tensors(&[3.0, -1.0, 4.0]).unwrap();
    assert_eq!((decision.threshold, decision.clip_coef), (1.0, 1.0 / (5.0 + 1e-8)));
    assert_eq!(decision.tensor_coefs, [decision.clip_coef, 1.0, decision.clip_coef]);
    // Told a norm alone, the same are errors.
    assert!(matches!(chooser.feed(1e9, Some(2.0)), Err(Error::SkipStep(clip, _)) if clip.total_norm == 1e9));
    assert!(matches!(chooser.feed(f64::NAN, None), Err(Error::NonFinite(clip)) if clip.total_norm.is_nan()));
    assert_eq!(chooser.feed(1.0, Some(f64::INFINITY)).unwrap_err().to_string(), "the loss is not finite");
}

#[test]
fn differences_are_added_without_a_copy() {
    let (weights, older) = ([4f32, 6.0], [1f64, 2.0]);
    let mut sum = Accumulator::new(2.0, &Options::new().exact_f64(true)).unwrap();
    sum.add_difference(&[GradRef::from(&weights)], &[GradRef::from(&older)]).unwrap();
    assert_eq!(sum.finish(f64::INFINITY).unwrap().total_norm, 5.0);
    let error = sum.add_difference(&[GradRef::from(&weights)], &[] as &[GradRef]).unwrap_err();
    assert!(error.to_string().starts_with("minus must have as many tensors"), "{}", error);
    let error = sum.add_difference(&[GradRef::from(&weights)], &[GradRef::from(&older[..1])]).unwrap_err();
    assert_eq!(error.to_string(), "minus[0].length must be that of the tensor (got 1)");
    assert_eq!(sum.finish(f64::INFINITY).unwrap().total_norm, 5.0);
}

#[test]
fn adagc_is_told_one_tensor_after_the_other() {
    let mut chooser = Chooser::new(&ChooserOptions::new(Rule::AdaGc).warmup_steps(2).max_norm(100.0)).unwrap();
    let by_tensor = chooser.by_tensor();
    for i in [1, 0, 1, 0] {
        let clip = by_tensor.feed_tensor(i, GradRef::from(&[3f32, 4.0]), 2.0, &PLAIN).unwrap();
        assert_eq!((clip.total_norm, clip.factor), (5.0, 1.0));
    }
    let clip = by_tensor.feed_tensor(1, GradRef::from(&[30f32, 40.0]), 2.0, &PLAIN).unwrap();
    assert!((clip.factor - 0.105).abs() < 1e-12, "{:?}", clip);
    let error = by_tensor.feed_tensor(7, GradRef::from(&[1.0, f64::NAN]), 2.0, &PLAIN).unwrap_err();
    assert!(matches!(error, Error::NonFinite(clip) if clip.factor == 1.0), "it has no factor");
    let error = by_tensor.feed_tensor(7, GradRef::from(&[f64::MAX, f64::MAX]), 2.0, &PLAIN).unwrap_err();
    assert!(matches!(error, Error::SkipStep(_, decision) if decision.action == Action::Skip));
    let error = by_tensor.feed_tensor(1_000_000, GradRef::from(&[1.0]), 2.0, &PLAIN).unwrap_err();
    assert_eq!(error.to_string(), "index must be below 10^6 (got 1000000)");
    assert!(Chooser::new(&ChooserOptions::new(Rule::ZClip)).unwrap().by_tensor().feed_tensor(0, GradRef::from(&[1.0]), 2.0, &PLAIN).is_err());
}

#[test]
fn gradients_are_made_from_slices_arrays_and_vecs() {
    let (mut a, mut b, mut c) = (vec![3.0f32], [4.0f64], vec![12.0f64]);
    let mut grads = [Grad::from(&mut a), Grad::from(&mut b), Grad::from(&mut c[..])];
    assert_eq!(clip_grad_norm(&mut grads, 6.5, 2.0, &PLAIN).unwrap().total_norm, 13.0);
    let grads = [GradRef::from(&a), GradRef::from(&b), GradRef::from(&c[..])];
    assert_eq!(get_norms(&grads, 2.0, &PLAIN).unwrap(), [1.5, 2.0, 6.0]);
}

#[test]
fn what_is_not_finite_is_an_error_of_every_function_that_measures() {
    let mut a = [1.0f32, f32::NAN];
    fn refused<T: std::fmt::Debug>(result: Result<T>) {
        assert!(matches!(&result, Err(Error::NonFinite(clip)) if clip.nonfinite.is_some()), "{:?}", result);
    }
    refused(get_total_norm(&[GradRef::from(&a)], 2.0, &PLAIN));
    refused(get_norms(&[GradRef::from(&a)], 2.0, &PLAIN));
    refused(defer_clip(&[GradRef::from(&a)], 1.0, 2.0, &PLAIN));
    refused(clip_by_norm(&mut [Grad::from(&mut a)], &[1.0], 2.0, &PLAIN));
    refused(clip_by_group(&mut [Grad::from(&mut a)], &[0], &[1.0], 2.0, &PLAIN));
    refused(clip_by_block_rms(&mut [Grad::from(&mut a)], 1.0, &PLAIN));
    refused(adaptive_clip_grad(
        &mut [Grad::from(&mut a)],
        &[GradRef::from(&[1.0f32, 1.0])],
        &[Units::new(1, 2, 1)],
        0.01,
        1e-3,
        2.0,
        &PLAIN,
    ));
    let mut sum = Accumulator::new(2.0, &PLAIN).unwrap();
    sum.add(&[GradRef::from(&a)]).unwrap();
    refused(sum.finish(1.0));
    // A policy that is named has its way.
    let norms = |policy| get_norms(&[GradRef::from(&a)], 2.0, &PLAIN.nonfinite(policy)).unwrap()[0];
    assert!(norms(Nonfinite::Propagate).is_nan());
    assert_eq!(norms(Nonfinite::Zero), 1.0);
}

#[test]
fn clipping_in_parts() {
    let (mut a, mut b) = (vec![3.0f32, 0.0], vec![4.0f64]);
    let parts = clip_by_norm(&mut [Grad::from(&mut a), Grad::from(&mut b)], &[6.0, 2.0], 2.0, &PLAIN).unwrap();
    assert_eq!((parts.total.total_norm, parts.clip_coefs, parts.norms), (5.0, vec![1.0, 0.5], vec![3.0, 4.0]));
    assert_eq!((a[0], b[0]), (3.0, 2.0));
    let error = clip_by_norm(&mut [Grad::from(&mut a)], &[1.0, 1.0], 2.0, &PLAIN).unwrap_err();
    assert!(error.to_string().contains("max_norm_count"), "{}", error);

    let (mut a, mut b) = ([3.0f32, 0.0], [4.0f64]);
    let mut grads = [Grad::from(&mut a), Grad::from(&mut b)];
    let parts = clip_by_group(&mut grads, &[1, 1], &[1.0, 2.5, 3.0], 2.0, &PLAIN).unwrap();
    assert_eq!((parts.clip_coefs, parts.norms), (vec![1.0, 0.5, 1.0], vec![0.0, 5.0, 0.0]));
    let error = clip_by_group(&mut grads, &[0], &[1.0], 2.0, &PLAIN).unwrap_err();
    assert_eq!(error.to_string(), "groups must be as many as the 2 gradients (got 1)");
    let error = clip_by_group(&mut grads, &[0, 1], &[1.0], 2.0, &PLAIN).unwrap_err();
    assert!(error.to_string().contains("groups[1]"), "{}", error);
    assert_eq!((a[0], b[0]), (1.5, 2.0));

    let mut a = [3.0f64; 4];
    let parts = clip_by_block_rms(&mut [Grad::from(&mut a)], 1.5, &PLAIN).unwrap();
    assert_eq!((a, parts.norms, parts.clip_coefs), ([1.5; 4], vec![6.0], vec![0.5]));
}

#[test]
fn clipping_by_the_weights() {
    // Two units of two: the first has 5 of 0.5, the second 0.25 of 0.05.
    let (mut a, weights) = (vec![3.0f32, 4.0, 0.25, 0.0], [30.0f64, 40.0, 3.0, 4.0]);
    let weights = [GradRef::from(&weights)];
    let mut clip = |units| adaptive_clip_grad(&mut [Grad::from(&mut a)], &weights, &[units], 0.01, 1e-3, 2.0, &PLAIN);
    assert_eq!(clip(Units::new(2, 2, 1)).unwrap().clip_coefs, [0.01 * 50.0 / 5.0, 0.01 * 5.0 / 0.25]);
    for units in [Units::new(2, 3, 1), Units::new(u64::MAX, 1, u64::MAX), Units::new(4, 0, 1)] {
        let error = clip(units).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.starts_with("units[0] must have")), "{}", error);
    }
    assert_eq!(a[0], 0.3);
}

#[test]
fn clipping_by_example() {
    // Three examples of two elements: norms 5, 10, and one with a NaN.
    let (a, mut sum) = ([3.0f32, 4.0, 6.0, 8.0, f32::NAN, 1.0], [0.0f64; 2]);
    let grads = [GradRef::from(&a)];
    let found =
        clip_per_example(&grads, &mut [Grad::from(&mut sum)], 3, &[5.0], ExampleRule::Threshold, &PLAIN).unwrap();
    assert_eq!((sum, found.factors, found.clipped), ([3.0, 4.0], vec![1.0, 0.0, 0.0], 1));
    assert_eq!((found.nonfinite, found.first_nonfinite, found.sensitivity), (1, Some(2), 5.0));
    assert!(found.norms[..2] == [5.0, 10.0] && found.norms[2].is_nan() && found.rounding_bound > 0.0);
    let error = clip_per_example(&grads, &mut [], 4, &[5.0], ExampleRule::Clip, &PLAIN).unwrap_err();
    assert_eq!(error.to_string(), "grads must have lengths that are multiples of examples (got 4)");
    let none: [GradRef; 0] = [];
    assert!(clip_per_example(&none, &mut [], 3, &[5.0], ExampleRule::Clip, &PLAIN).unwrap().norms.is_empty());
    // Of no examples, as Poisson sampling draws them, the sums are 0.
    let (empty, mut sum) = ([0.0f32; 0], [9.0f64, 9.0]);
    let found =
        clip_per_example(&[GradRef::from(&empty)], &mut [Grad::from(&mut sum)], 0, &[5.0], ExampleRule::Clip, &PLAIN)
            .unwrap();
    assert!(found.norms.is_empty() && sum == [0.0, 0.0]);
    assert_eq!(adapt_max_norm(2.0, 5.0, 10.0, 0.5, 0.2), Ok(2.0));
    assert!(adapt_max_norm(-2.0, 5.0, 10.0, 0.5, 0.2).is_err());
}

#[test]
fn a_monitor_writes_a_line_a_step_and_a_panic_of_the_writer_goes_on() {
    let (sender, lines) = std::sync::mpsc::channel();
    let mut monitor = Monitor::new(move |kind, line| sender.send((kind, line.to_string())).unwrap());
    let clip = get_total_norm(&[GradRef::from(&[3.0f32, 4.0])], 2.0, &PLAIN).unwrap();
    monitor.log(&clip, Some(0.25), Some(f64::NAN)).unwrap();
    assert_eq!((monitor.step(), monitor.said() & 1), (2, 1));
    let lines: Vec<_> = lines.try_iter().collect();
    assert_eq!(lines.iter().filter(|line| line.0 == LogKind::Warning).count(), 1);
    assert!(lines.iter().any(|line| line.1.starts_with("1,5,1,0.25,nan,0")), "{:?}", lines);
    let mut broken = Monitor::new(|_, _| panic!("disk full")).resume(7, 1);
    let log = std::panic::AssertUnwindSafe(|| broken.log(&clip, None, None));
    assert_eq!(*std::panic::catch_unwind(log).unwrap_err().downcast::<&str>().unwrap(), "disk full");
}

#[test]
fn adagc_can_be_deferred() {
    // What clip() makes of gradients, an optimizer makes with the coefficients of feed_tensors().
    let options = ChooserOptions::new(Rule::AdaGc).warmup_steps(1);
    let (mut whole, mut deferred) = (Chooser::new(&options).unwrap(), Chooser::new(&options).unwrap());
    for step in 1..6 {
        let scale = if step == 4 { 100.0 } else { step as f32 };
        let (mut a, mut b) = ([scale, 2.0], [3.0f32]);
        let norms = get_norms(&[GradRef::from(&a), GradRef::from(&b)], 2.0, &PLAIN).unwrap();
        let decision = deferred.feed_tensors(&norms).unwrap();
        let (_, same) = whole.clip(&mut [Grad::from(&mut a), Grad::from(&mut b)], 2.0, None, &PLAIN).unwrap();
        // (In the warm-up clip() knows the total norm exactly, feed_tensors() from rounded norms.)
        assert_eq!((decision.action, decision.steps), (same.action, same.steps));
        for (a, b) in decision.tensor_coefs.iter().zip(&same.tensor_coefs) {
            assert!((a - b).abs() <= 1e-15, "{:?} {:?}", decision, same);
        }
        assert_eq!(a[0], scale * decision.tensor_coefs[0] as f32);
        assert_eq!(b[0], 3.0 * decision.tensor_coefs[1] as f32);
        assert!(step < 4 || step > 4 || decision.tensor_coefs[0] < 0.1);
    }
}

#[test]
fn inspect_reports_on_every_gradient() {
    let (a, b) = ([1.0f32, -3.0, 0.0, f32::NAN], [f64::NEG_INFINITY, 4.0]);
    let (reports, clip) = inspect(&[GradRef::from(&a[..]), GradRef::from(&b[..])], 1.0, &PLAIN).unwrap();
    assert_eq!(clip.total_norm, 8.0);
    assert_eq!(clip.nonfinite, Some(NonFinite { count: 2, nan_count: 1, first_tensor: 0, first_element: 3 }));
    assert_eq!((reports.len(), reports[0].norm, reports[0].max_abs, reports[0].length), (2, 4.0, 3.0, 4));
    assert_eq!((reports[0].zero_count, reports[0].first_nonfinite), (1, Some(3)));
    assert_eq!((reports[1].negative_infinity_count, reports[1].first_nonfinite), (1, Some(0)));
    let (reports, _) = inspect(&[GradRef::from(&a[..3])], 1.0, &PLAIN).unwrap();
    assert_eq!(reports[0].first_nonfinite, None);
}

#[test]
fn lists_can_be_used_by_other_threads() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Grad>();
    send_and_sync::<GradRef>();
    send_and_sync::<Options>();
    send_and_sync::<Error>();
    fn send<T: Send>() {}
    send::<Chooser>();
}

#[test]
fn threads_and_versions() {
    set_num_threads(3);
    assert_eq!(num_threads(), 3);
    set_num_threads(0);
    assert!(num_threads() >= 1);
    assert!(version().starts_with("1."), "{}", version());
    assert!(["baseline", "x86-64-v3", "x86-64-v4", "x86-64-v4-ifma", "neon"].contains(&isa()), "{}", isa());
}
