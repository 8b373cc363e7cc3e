// Which instruction set the kernels run on: found once from the processor, capped by CHAINRULE_MAX_ISA.
#pragma once

#include <string>
#include <vector>

namespace chainrule {

// In rising order: a processor that has one has all those before it. On ARM only `baseline` (NEON) exists.
enum class Isa { baseline, avx2, avx512 };

const char* isa_name(Isa isa);

// The levels that this processor has and this build contains, lowest first. Not capped.
std::vector<Isa> available_isas();

// The level in use. The first call reads CHAINRULE_MAX_ISA (baseline, avx2 or avx512) and throws
// std::invalid_argument when it names nothing known.
Isa active_isa();

// Use another level, for tests and measurements. Throws std::invalid_argument when the machine lacks it.
void set_active_isa(Isa isa);

// The level with this name; throws std::invalid_argument naming the known ones.
Isa parse_isa(const std::string& name);

}  // namespace chainrule
