// One half of a program: the file that has exceptions. See mixed_without.cpp.
#include "check.hpp"

#ifdef GRADCLIP_NO_EXCEPTIONS
#error "this file is compiled with exceptions"
#endif

bool refused_without_exceptions();

int main() {
    bool caught = false;
    try {
        std::vector<float> grad{3, 4};
        static_cast<void>(gradclip::clip_grad_norm(grad, -1));
    } catch (const gradclip::error &error) {
        caught = is(error, gradclip::status::invalid_argument, "max_norm");
    }
    CHECK(caught);
    CHECK(refused_without_exceptions());
    return summary("mixed");
}
