// What the C functions of each group have in common: check the numbers, call the
// engine, hand the result over.
import CGradClip
import GradClip

func clip(_ given: Given, _ maxNorm: Double, _ normType: Double) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try given.checked()
        if let outputs = given.others { try check(outputs: outputs, for: given.grads) }
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        return given.slot.store(
            GradClip.clip(
                given.grads, to: given.others, maxNorm: maxNorm, normType: normType, options: given.options,
                tensorNorms: given.slot.tensorNorms))
    }
}

func totalNorm(_ given: Given, _ normType: Double) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try given.checked()
        try check(normType: normType)
        try given.slot.checkIsThere()
        return given.slot.store(
            GradClip.totalNorm(
                given.grads, normType: normType, options: given.options, tensorNorms: given.slot.tensorNorms))
    }
}

func deferClip(_ given: Given, _ maxNorm: Double, _ normType: Double) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try given.checked()
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        try given.slot.checkIsThere()
        return given.slot.store(
            GradClip.deferClip(
                given.grads, maxNorm: maxNorm, normType: normType, options: given.options,
                tensorNorms: given.slot.tensorNorms))
    }
}

func clip(_ given: Given, _ maxNorm: Double, totalNorm: Double) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try given.checked()
        try check(maxNorm: maxNorm)
        try check(totalNorm: totalNorm)
        try given.slot.checkNoTensorNorms("must be NULL: the gradients are not measured")
        return given.slot.store(
            GradClip.clip(given.grads, maxNorm: maxNorm, totalNorm: totalNorm, options: given.options))
    }
}

func clip(_ given: Given, byValue limit: Double) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try given.checked()
        try check(clipValue: limit)
        GradClip.clamp(given.grads, to: limit, threads: given.options.threads)
        return 0
    }
}
