"""`dirac-keras diagnose --quantization`: which layers will not survive integers, why, and what mends them."""

import time

from dirac_keras.cli.speech.json_option import emit, is_quiet
from dirac_keras.cli.speech.output import print_rows, say, stderr, write_json
from dirac_keras.files.amounts import counted

BITS = (8, 4)
_WAYS = (
    "at the command line: `dirac-keras export MODEL --format litert --precision int8 --calibration DATA` rounds by "
    "data; --identity-apart, --max-kept SHARE go with it"
)


def diagnose_quantization(network, stream, count, record, folder, as_json):
    """Judge a trained network and say it.

    Args:
        network: classifier of images, folded or not.
        stream: batches of images and labels, scaled as the network takes them.
        count: int, images to take.
        record: dict, to which the results are added.
        folder: `pathlib.Path` of `quantization.json` and `quantization.html`.
        as_json: see `json_option`.
    """
    from dirac_keras.deployment.quantization import CURES, audit, calibration_set, quantize
    from dirac_keras.diagnostics import judge_quantization, write_quantization_page
    from dirac_keras.folding import fold

    start = time.perf_counter()
    folded, _ = fold(network)
    images = calibration_set(stream, folded, max(count, 16))
    record["images"] = len(images)
    record["quantization"] = {}
    audits, verdicts, report = [], [], None
    for bits in BITS:
        with stderr.status(f"int{bits}") as status:
            measured = audit(folded, images, bits)
            _, report = quantize(
                folded,
                images,
                bits,
                cures=CURES,
                progress=lambda text, bits=bits, status=status: status.update(f"int{bits}: {text}"),
            )
        verdict = judge_quantization(measured, report)
        audits.append(measured)
        verdicts.append(verdict)
        record["quantization"][f"int{bits}"] = {
            "verdict": verdict.to_dict(),
            "audit": measured.to_dict(),
            "cures": report.to_dict(),
        }
    title = f"{network.name} on {counted(len(images), 'image')} of {record['data']}"
    notes = [f"note: {note}" for note in images.notes]
    write_json(folder / "quantization.json", record)
    page = folder / "quantization.html"
    if report is not None:
        notes.append(
            f"tables and verdicts: on all {len(images):,} images; cures: on {report.held_out:,} of them that no weight "
            f"was fitted to, the ranges of activations those of the other {report.images:,}"
        )
        write_quantization_page(verdicts, audits, page, title, notes)
    emit(as_json, record)
    if is_quiet(as_json):
        return
    for measured in audits:
        print_rows(f"{title}: int{measured.bits} weights to the nearest", measured.rows())
    print_rows(f"{title}: int{audits[0].activation_bits} activations", audits[0].tensor_rows())
    for note in notes:
        say(note)
    for verdict in verdicts:
        say("\n".join(verdict.lines()))
    say(_WAYS)
    say(f"measured in {time.perf_counter() - start:.1f} s; written: {folder / 'quantization.json'}, {page}")
