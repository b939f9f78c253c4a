#include <stdio.h>

int main(void)
{
    puts("qwench");
    return 0;
}
