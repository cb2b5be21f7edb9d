"""Plain DDP over a mix: torchrun --nproc-per-node 2 docs/ddp_example.py MIX_FOLDER STATE_FILE STEPS"""

import os
import sys
from itertools import islice
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from leaven.loader import Loader

mix, path, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo")
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Embedding(256, 32), nn.Linear(32, 256)))  # your model here
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
saved = torch.load(path, weights_only=True) if path.exists() else {"states": [], "seats": 0}
for part, state in zip((model, optimizer), saved["states"]):
    part.load_state_dict(state)
loader = Loader(mix, 8, distributed.get_rank(), distributed.get_world_size(), state=saved["seats"])
for batch in islice(loader, steps - loader.state // 8):  # each takes the mix's next 8 seats, on any number of ranks
    tokens, bears = torch.from_numpy(batch["tokens_BT"]).long(), torch.from_numpy(batch["loss_mask_BT"])[:, :-1]
    loss = nn.functional.cross_entropy(model(tokens)[:, :-1][bears], tokens[:, 1:][bears], reduction="sum")
    distributed.all_reduce(count := bears.sum())  # so that each loss-bearing token weighs the same on any rank
    optimizer.zero_grad()
    (loss * loader.world / count).backward()
    optimizer.step()
saved = {"states": [model.state_dict(), optimizer.state_dict()], "seats": loader.state}
torch.save(saved, path if loader.rank == 0 else os.devnull)
distributed.barrier()  # a rank that leaves while another still talks aborts
distributed.destroy_process_group()
