import { checkNumber } from "../arguments.ts";
import type { OptimizerStep } from "../engine.ts";

export function checkOptimizerStep(step: OptimizerStep): void {
  checkNumber("learningRate", step.learningRate, 0, 1e6);
  checkNumber("beta1", step.beta1, 0, 1 - 2 ** -24);
  checkNumber("beta2", step.beta2, 0, 1 - 2 ** -24);
  checkNumber("epsilon", step.epsilon, 0, 1);
  checkNumber("weightDecay", step.weightDecay, 0, 1e6);
  checkNumber("maxGradNorm", step.maxGradNorm, 0, Number.MAX_VALUE);
}
