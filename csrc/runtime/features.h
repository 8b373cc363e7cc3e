// Which instruction set the kernels run on: found once from the processor, capped by CHAINRULE_MAX_ISA.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chainrule {

// In rising order: a processor that has one has all those before it. On ARM only `baseline` (NEON) exists.
// The last two differ from avx512 in products of bfloat16 alone: by dot products, and by the matrix unit.
enum class Isa { baseline, avx2, avx512, avx512_bf16, amx_bf16 };

constexpr Isa all_isas[] = {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx_bf16};

const char* isa_name(Isa isa);

// The levels that this processor has and this build contains, lowest first. Not capped.
std::vector<Isa> available_isas();

// The level in use. The first call reads CHAINRULE_MAX_ISA (a level's name) and throws
// std::invalid_argument when it names nothing known.
Isa active_isa();

// Use another level, for tests and measurements. Throws std::invalid_argument when the machine lacks it.
void set_active_isa(Isa isa);

// The level with this name; throws std::invalid_argument naming the known ones.
Isa parse_isa(const std::string& name);

// The size of a core's second-level cache, or 1 MiB where the system does not say. For choices of blocks that
// touch no result alone.
int64_t second_cache_bytes();

}  // namespace chainrule
