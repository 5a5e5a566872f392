# lwIP, from the distribution's source package: a version that is known here by the hash of its archive, which
# tools/bootstrap puts into $(CAPOS_CACHE)/lwip.  It is unpacked into build/lwip, and never changed.
LWIP_KNOWN := \
	lwip_2.1.3+dfsg1.orig.tar.xz=0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24 \
	lwip_2.2.0+dfsg1.orig.tar.xz=3a56474c26be8efe05c6b626a256c67bd9ee3739084e2844a4c989be031e7786 \
	lwip_2.2.1+dfsg1.orig.tar.xz=83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1

LWIP_DIR  := $(OUT)/lwip
# The first of them that is there.
LWIP_PICK := $(firstword $(foreach k,$(LWIP_KNOWN),$(if $(wildcard $(CAPOS_CACHE)/lwip/$(firstword $(subst =, ,$(k)))),$(k))))
LWIP_TAR  := $(CAPOS_CACHE)/lwip/$(firstword $(subst =, ,$(LWIP_PICK)))
LWIP_HASH := $(lastword $(subst =, ,$(LWIP_PICK)))

# Not mem.c (usr/tcpip/port/heap.c is in its place), nor what takes threads.
LWIP_SRC := $(addprefix $(LWIP_DIR)/src/,$(addsuffix .c, \
	$(addprefix core/,init def dns inet_chksum ip memp netif pbuf raw stats tcp tcp_in tcp_out timeouts udp) \
	$(addprefix core/ipv4/,dhcp etharp icmp ip4 ip4_addr ip4_frag) \
	$(addprefix core/ipv6/,dhcp6 ethip6 icmp6 inet6 ip6 ip6_addr ip6_frag mld6 nd6) \
	netif/ethernet))
# What sees its headers, and what that is compiled anew for: lists of dependencies leave out what a system's header includes.
LWIP_USERS := $(LWIP_SRC) $(wildcard usr/tcpip/*.c usr/tcpip/port/*.c tests/usr/tcpip/*.c tests/fuzz/tcpip.c)
LWIP_NEEDS := $(LWIP_DIR)/unpacked $(wildcard usr/tcpip/port/*.h usr/tcpip/port/*/*.h)
LWIP_CFLAGS := -Iusr/tcpip/port -isystem $(LWIP_DIR)/src/include

$(eval $(call stamp_rule,$(LWIP_DIR).pick,LWIP_PICK))
$(LWIP_DIR)/unpacked: $(LWIP_DIR).pick
	$(call say,UNPACK,$(LWIP_TAR))
	$(Q)[ -n '$(LWIP_PICK)' ] || { echo 'lwIP is not there: tools/bootstrap gets it' >&2; exit 1; }
	$(Q)rm -rf $(LWIP_DIR) && mkdir -p $(LWIP_DIR) && echo '$(LWIP_HASH)  $(LWIP_TAR)' | sha256sum --quiet -c && \
	    tar -xJf '$(LWIP_TAR)' -C $(LWIP_DIR) --strip-components=1 --no-same-owner && touch $@
$(LWIP_SRC): $(LWIP_DIR)/unpacked ;
