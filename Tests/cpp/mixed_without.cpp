// The other half: a file compiled without exceptions, with calls of the same names.
#define GRADCLIP_NO_EXCEPTIONS
#include "check.hpp"

bool refused_without_exceptions();

bool refused_without_exceptions() {
    std::vector<float> grad{3, 4};
    const auto found = gradclip::clip_grad_norm(grad, -1);
    return !found && is(found.error(), gradclip::status::invalid_argument, "max_norm") &&
           gradclip::clip_grad_norm(grad, 10)->total_norm == 5;
}
